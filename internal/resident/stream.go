// SPDX-License-Identifier: Apache-2.0

package resident

import (
	"bytes"
	"io"
	"strconv"

	"github.com/swiftcni/swiftcni/internal/netconf"
	"golang.org/x/sys/unix"
)

// The streams belong to the caller, who shares them with others, so their flags stay as they are:
// each blocks or doesn't. They are polled together with the connection, whose end is the caller's.

// await waits until something can be read from a stream, or written to it. It's false if the caller
// has gone meanwhile.
func await(fd, caller int, events int16) bool {
	fds := [2]unix.PollFd{{Fd: int32(fd), Events: events}, {Fd: int32(caller), Events: unix.POLLRDHUP}}
	for {
		_, err := unix.Poll(fds[:], -1)
		switch {
		case err == unix.EINTR:
		case err != nil:
			return true // the stream says it better
		case fds[1].Revents != 0:
			return false
		case fds[0].Revents != 0:
			return true
		}
	}
}

// input is the caller's standard input.
type input struct {
	fd, caller int
	pieces     bool   // it's written word by word
	text       []byte // as far as it was read
}

// kept is whole for a call that the caller makes itself if the resident dies: the text stays in the
// caller's pipe, or is back there soon.
func (r *input) kept() (io.Reader, bool) {
	r.awaitClose()
	if r.text = r.peek(); r.text != nil {
		return bytes.NewReader(r.text), true
	}
	text, ok := r.whole()
	if ok {
		r.putBack()
	}
	return text, ok
}

// untilClosed is how long nothing is taken out of a pipe into which somebody may still write, in
// milliseconds. A text that's larger than the pipe isn't closed before it's read.
const untilClosed = 100

// awaitClose waits until nobody writes into the pipe any more: a runtime starts a plugin, and then
// writes its input. Whatever is read before would be lost with the resident.
func (r *input) awaitClose() {
	if _, err := unix.FcntlInt(uintptr(r.fd), unix.F_GETPIPE_SZ, 0); err != nil {
		return // of other files nobody hears that they're closed
	}
	fds := [2]unix.PollFd{{Fd: int32(r.fd)}, {Fd: int32(r.caller), Events: unix.POLLRDHUP}}
	for {
		if _, err := unix.Poll(fds[:], untilClosed); err != unix.EINTR {
			return
		}
	}
}

// Bounds of gather: a look each so many milliseconds, and so many of them.
const (
	untilNextLook = 2
	maxLooks      = 50
	enough        = 32 << 10 // bytes, of the 64 KiB that a pipe holds
)

// gather waits until nobody writes into the pipe any more, or no more comes for a moment. netavark
// writes each word of a call's input by itself, some 7,000 for 200 ports, and whoever reads along wakes
// up for each.
func (r *input) gather() {
	fds := [2]unix.PollFd{{Fd: int32(r.fd)}, {Fd: int32(r.caller), Events: unix.POLLRDHUP}}
	for had, looks := 0, 0; looks < maxLooks; looks++ {
		if n, _ := unix.Poll(fds[:], untilNextLook); n != 0 {
			return
		}
		has, err := unix.IoctlGetInt(r.fd, unix.TIOCINQ) // FIONREAD
		if err != nil || has > 0 && has == had || has > enough {
			return
		}
		had = has
	}
}

// whole reads all of it. It's false if the caller has gone before it was there.
func (r *input) whole() (io.Reader, bool) {
	// A runtime writes a configuration at once and closes the pipe.
	size, err := unix.IoctlGetInt(r.fd, unix.TIOCINQ) // FIONREAD
	if err != nil {
		size = 0
	}
	text := make([]byte, 0, min(max(size, 1023), netconf.MaxInput)+1) // one more, for the end
	defer func() { r.text = text }()
	for {
		if len(text) == cap(text) {
			text = append(text, 0)[:len(text)]
		}
		if len(text) > netconf.MaxInput {
			break // the plugin says so
		}
		if r.pieces {
			r.gather()
		}
		if !await(r.fd, r.caller, unix.POLLIN) {
			return nil, false
		}
		n, err := unix.Read(r.fd, text[len(text):cap(text)])
		switch {
		case err == unix.EINTR, err == unix.EAGAIN:
		case err != nil:
			return io.MultiReader(bytes.NewReader(text), failing{err}), true
		case n == 0:
			return bytes.NewReader(text), true
		default:
			text = text[:len(text)+n]
		}
	}
	return bytes.NewReader(text), true
}

// peek reads all that lies in a pipe into which nobody writes any more, and leaves it there. It's nil
// if somebody still may write, or if that can't be done.
func (r *input) peek() []byte {
	fds := [1]unix.PollFd{{Fd: int32(r.fd)}}
	if _, err := unix.Poll(fds[:], 0); err != nil || fds[0].Revents&unix.POLLHUP == 0 {
		return nil
	}
	n, err := unix.IoctlGetInt(r.fd, unix.TIOCINQ) // FIONREAD
	if err != nil || n == 0 {
		return nil
	}
	var between [2]int
	if err := unix.Pipe2(between[:], unix.O_CLOEXEC|unix.O_NONBLOCK); err != nil {
		return nil
	}
	defer unix.Close(between[0])
	defer unix.Close(between[1])
	// A pipe that is longer than the one between gives less.
	if teed, err := unix.Tee(r.fd, between[1], n, unix.SPLICE_F_NONBLOCK); err != nil || teed != int64(n) {
		return nil
	}
	text := make([]byte, n)
	if m, err := unix.Read(between[0], text); err != nil || m != n {
		return nil
	}
	return text
}

// putBack writes the text into the pipe again out of which it was read, for a caller that has to make
// its call itself because the resident dies. Where that can't be, such a caller has an error.
func (r *input) putBack() {
	room, err := unix.FcntlInt(uintptr(r.fd), unix.F_GETPIPE_SZ, 0)
	if err != nil || len(r.text) > room {
		return // it's no pipe, or the text was longer than the pipe
	}
	to, err := unix.Open("/proc/self/fd/"+strconv.Itoa(r.fd), unix.O_WRONLY|unix.O_NONBLOCK|unix.O_CLOEXEC, 0)
	if err != nil {
		return
	}
	defer unix.Close(to)
	_, _ = unix.Write(to, r.text)
}

// failing is a reader that returns an error.
type failing struct{ err error }

func (f failing) Read([]byte) (int, error) { return 0, f.err }

// output is the caller's standard output or error.
type output struct{ fd, caller int }

// atOnce is what a pipe takes once it says that it takes something (PIPE_BUF).
const atOnce = 4096

func (w *output) Write(b []byte) (n int, err error) {
	for n < len(b) {
		if !await(w.fd, w.caller, unix.POLLOUT) {
			return n, errGone
		}
		m, err := unix.Write(w.fd, b[n:min(len(b), n+atOnce)])
		switch err {
		case nil:
			n += m
		case unix.EINTR, unix.EAGAIN:
		default:
			return n, err
		}
	}
	return n, nil
}
