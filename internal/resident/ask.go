// SPDX-License-Identifier: Apache-2.0

package resident

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"strings"

	"github.com/swiftcni/swiftcni/cni"
	"github.com/swiftcni/swiftcni/internal/handover"
	"golang.org/x/sys/unix"
)

// question is the first argument of a message that asks a resident something. No plugin has the name.
// A resident that doesn't know the question sends it back, since it has no verb.
const question = "swiftcni-resident"

// forEvents is the argument after question that asks a resident to tell of its calls. Without an
// argument it's asked for its version.
const forEvents = "events"

func asks(m *message) bool { return m.args[0] == question && len(m.args) <= 2 && len(m.env) == 0 }

// asksForEvents is about a message that asks.
func asksForEvents(m *message) bool { return len(m.args) == 2 && m.args[1] == forEvents }

// reply answers a question. It reports whether the connection is a listener's now.
func (s *Server) reply(conn *net.UnixConn, m *message, files streams, from caller) (kept bool) {
	switch {
	case asksForEvents(m):
		if s.listeners.add(conn, from.conn, files[1]) {
			return true
		}
		sendBack(conn)
	case len(m.args) == 1 && from.able:
		_, _ = io.WriteString(&output{fd: files[1], caller: from.conn}, cni.Version()+"\n")
		answer(conn, 0)
	default:
		sendBack(conn)
	}
	return false
}

// ErrSentBack is the error of [Ask] about a resident that answers, but wouldn't make this process's
// calls: they differ in their namespaces or capabilities, it has too many calls, or it's of a version
// that doesn't know the question. It's the error of [Follow] if the namespaces differ, if too many
// follow, or of such a version.
var ErrSentBack = errors.New("the resident sends calls from here back")

// Ask returns the version of the resident that listens at a path, which may be empty. It waits for
// the answer until the context ends. The error is ErrSentBack, that nobody listens
// (unix.ECONNREFUSED, fs.ErrNotExist), or that nobody answers.
func Ask(ctx context.Context, path string) (version string, err error) {
	q, err := put(ctx, path, question)
	if err != nil {
		return "", err
	}
	defer q.close()
	text, err := io.ReadAll(io.LimitReader(q.text, 1024))
	return strings.TrimSpace(string(text)), because(ctx, err)
}

// answering is a question that a resident answers.
type answering struct {
	conn net.Conn
	text *os.File // the answer
	stop func() bool
}

func (q *answering) close() {
	q.stop()
	q.conn.Close()
	q.text.Close()
}

// put asks a resident, and returns once it has said that it answers. The end of the context ends the
// answer.
func put(ctx context.Context, path string, words ...string) (q *answering, err error) {
	var d net.Dialer
	c, err := d.DialContext(ctx, "unixpacket", path)
	if err != nil {
		return nil, err
	}
	answer, to, err := os.Pipe()
	if err != nil {
		c.Close()
		return nil, err
	}
	defer to.Close()
	q = &answering{conn: c, text: answer, stop: context.AfterFunc(ctx, func() {
		c.Close()
		answer.Close()
	})}
	b := binary.NativeEndian.AppendUint32(nil, handover.Version)
	b = binary.NativeEndian.AppendUint32(b, uint32(len(words)))
	for _, word := range words {
		b = append(append(b, word...), 0)
	}
	fd := int(to.Fd())
	conn := c.(*net.UnixConn)
	var status [1]byte
	if _, _, err = conn.WriteMsgUnix(b, unix.UnixRights(fd, fd, fd), nil); err == nil {
		_, err = io.ReadFull(conn, status[:])
	}
	switch {
	case err != nil:
		err = because(ctx, err)
	case status[0] == handover.DoItYourself:
		err = ErrSentBack
	case status[0] != 0:
		err = fmt.Errorf("the resident answers %d", status[0])
	default:
		return q, nil
	}
	q.close()
	return nil, err
}

// because prefers the context's end to an error that follows from it.
func because(ctx context.Context, err error) error {
	if err != nil && ctx.Err() != nil {
		return ctx.Err()
	}
	return err
}
