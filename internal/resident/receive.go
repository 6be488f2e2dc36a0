// SPDX-License-Identifier: Apache-2.0

package resident

import (
	"net"
	"slices"
	"strings"
	"time"

	"github.com/swiftcni/swiftcni/internal/handover"
	"github.com/swiftcni/swiftcni/internal/netavark"
	"golang.org/x/sys/unix"
)

// streams are the caller's standard streams, or descriptors that it wasn't to send.
type streams []int

func (s streams) close() {
	for _, fd := range s {
		unix.Close(fd)
	}
}

// receive receives a caller's message and streams. The streams are to be closed, also beside an
// error.
func receive(conn *net.UnixConn, b []byte) (m message, files streams, err error) {
	if err := conn.SetReadDeadline(time.Now().Add(untilSaid)); err != nil {
		return m, nil, err
	}
	// One descriptor more than belongs there is seen as wrong; the kernel drops what's beyond.
	control := make([]byte, unix.CmsgSpace(4*(handover.Streams+1)))
	n, controlLen, flags, _, err := conn.ReadMsgUnix(b, control)
	if err != nil {
		return m, nil, err
	}
	files = descriptors(control[:controlLen])
	if flags&(unix.MSG_TRUNC|unix.MSG_CTRUNC) != 0 || len(files) != handover.Streams {
		return m, files, errMessage
	}
	if err := conn.SetReadDeadline(time.Time{}); err != nil {
		return m, files, err
	}
	m, err = parse(b[:n])
	return m, files, err
}

// descriptors are those that came with a message.
func descriptors(control []byte) (list streams) {
	messages, err := unix.ParseSocketControlMessage(control)
	if err != nil {
		return nil
	}
	for i := range messages {
		fds, err := unix.ParseUnixRights(&messages[i])
		if err == nil {
			list = append(list, fds...)
		}
	}
	return list
}

// understood reports whether all that the call names means the same to this process. A path below
// another process's own, such as /proc/self, doesn't, nor does a relative one.
func understood(m *message) bool {
	bus := m.getenv("DBUS_SYSTEM_BUS_ADDRESS") != "" // another one
	switch {
	case netavark.IsCall(m.args):
		own := func(path string) bool { return !isCommon(path) }
		return !bus && m.args[1] != "info" && !slices.ContainsFunc(m.args[2:], own)
	case len(m.args) > 1:
		return false // of calls with arguments the caller knows netavark's alone
	case m.getenv("CNI_COMMAND") == "":
		return false // it's a question about the program
	case m.getenv("CNI_COMMAND") == "VERSION":
		return true // it looks at nothing, and libcni's paths are "dummy" then
	case bus:
		return false
	}
	paths := strings.Split(m.getenv("CNI_PATH"), ":")
	for _, path := range append(paths, m.getenv("CNI_NETNS")) {
		if path != "" && !isCommon(path) {
			return false
		}
	}
	return true
}

// once reports whether the call mustn't be made again if this process dies during it. The caller's
// instructions decide alike (handover_*.s).
func (m *message) once() bool {
	if netavark.IsCall(m.args) {
		return m.args[1] == "setup"
	}
	return m.getenv("CNI_COMMAND") == "ADD"
}

// isCommon reports whether a path means the same to each process of a mount namespace.
func isCommon(path string) bool {
	if !strings.HasPrefix(path, "/") {
		return false
	}
	for _, own := range [...]string{"/proc/self", "/proc/thread-self", "/proc/net", "/dev/fd", "/dev/std", "/./", "/../", "//"} {
		if strings.Contains(path, own) {
			return false
		}
	}
	return true
}
