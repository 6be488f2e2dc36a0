// SPDX-License-Identifier: Apache-2.0

package rtnl

import (
	"context"

	"github.com/swiftcni/swiftcni/internal/inside"
	"github.com/swiftcni/swiftcni/internal/nlsock"
	"golang.org/x/sys/unix"
)

// A Sysctl is a setting of a namespace that has no netlink form. It's a file below /proc/sys/net,
// which shows the settings of the namespace of the thread that opens it.
type Sysctl struct {
	// Path is the file's path, such as "/proc/sys/net/ipv6/conf/eth0/accept_dad".
	Path string
	// Value is the text that the file is to hold.
	Value string
	// Later only opens the file, for [Sysctl.Finish] to write. Then either that or [Sysctl.Drop]
	// must be called.
	Later bool

	// Err is why the sysctl couldn't be written, or opened if it's for later: an
	// [*io/fs.PathError]. [DialWith] sets it.
	Err error

	file inside.Write
}

// Finish writes a sysctl that was opened for later, whatever the thread's namespace is by then, and
// closes its file. If none is open it does nothing.
func (s *Sysctl) Finish() error { return s.file.Finish() }

// Drop closes the file of a sysctl that was opened for later, and leaves the setting as it is. If
// none is open it does nothing.
func (s *Sysctl) Drop() { s.file.Drop() }

// DialWith is [Dial], and writes sysctls in the namespace on the way, in their order. Each costs
// three system calls, and the way there costs none. If a sysctl can't be written, its Err is set,
// and the others are written all the same. If DialWith itself returns an error, which is one of
// Dial's, no file is left open.
//
// Writing some sysctls, such as disable_ipv6, waits until no program changes links. The end of ctx
// doesn't end that wait, since the kernel doesn't let it end. Other goroutines go on meanwhile.
func DialWith(ctx context.Context, ns *NetNS, sysctls []Sysctl) (*Conn, error) {
	files := make([]inside.Write, len(sysctls))
	for i, s := range sysctls {
		files[i] = inside.Write{Path: s.Path, Value: s.Value, Later: s.Later}
	}
	sock, err := nlsock.OpenInside(ctx, ns.fd, unix.NETLINK_ROUTE, files)
	for i := range sysctls {
		sysctls[i].file, sysctls[i].Err = files[i], files[i].Err
	}
	return dialed(sock, err)
}
