// SPDX-License-Identifier: Apache-2.0

package dhcp

import (
	"context"
	"io"
	"os"

	"golang.org/x/sys/unix"
)

// moment is how long a system call waits, in microseconds. Then it's made again, unless the context
// has ended.
const moment = 250_000

// A socket is a stream of bytes by system calls alone. Package net's would add its resolver to the
// program.
type socket struct {
	ctx context.Context // ends all that waits
	fd  int
}

// dialSocket connects to a path, which begins with "@" if it's abstract.
func dialSocket(ctx context.Context, path string) (*socket, error) {
	fd, err := unix.Socket(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return nil, os.NewSyscallError("socket", err)
	}
	s := &socket{ctx, fd}
	for _, option := range []int{unix.SO_RCVTIMEO, unix.SO_SNDTIMEO} {
		if err == nil {
			err = unix.SetsockoptTimeval(fd, unix.SOL_SOCKET, option, &unix.Timeval{Usec: moment})
		}
	}
	if err == nil {
		for err = unix.EAGAIN; s.again(err); { // while too many wait to be accepted
			err = unix.Connect(fd, &unix.SockaddrUnix{Name: path})
		}
	}
	if err != nil {
		unix.Close(fd)
		return nil, os.NewSyscallError("connect", err)
	}
	return s, nil
}

// again reports whether a system call with this error is to be made again.
func (s *socket) again(err error) bool {
	return (err == unix.EAGAIN || err == unix.EINTR) && s.ctx.Err() == nil
}

// Read is that of io.Reader.
func (s *socket) Read(b []byte) (n int, err error) {
	for err = unix.EAGAIN; s.again(err); {
		n, err = unix.Read(s.fd, b)
	}
	if n <= 0 && err == nil {
		err = io.EOF
	}
	return max(n, 0), err
}

func (s *socket) write(b []byte) error {
	for len(b) > 0 {
		// If the daemon is gone, the send is an error, not a signal.
		n, err := unix.SendmsgN(s.fd, b, nil, nil, unix.MSG_NOSIGNAL)
		if err != nil && !s.again(err) {
			return err
		}
		b = b[max(n, 0):]
	}
	return nil
}
