// SPDX-License-Identifier: Apache-2.0

// Package dbus calls methods on the system bus, with strings as arguments and as answer. firewalld
// needs no more. A library for the whole of D-Bus would be a tenth of the plugin.
package dbus

import (
	"errors"
	"fmt"
	"io"
	"os"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// SystemBus is the socket of the system bus, as the D-Bus specification names it ("Well-known
// Message Bus Instances"), unless [SystemBusVar] names others.
const SystemBus = "/run/dbus/system_bus_socket"

// bound is how long the bus may be silent, in seconds: a firewall that rebuilds its rules takes one
// or two.
const bound = 10

// A Conn is a connection to a bus, for one goroutine at a time. Close it.
type Conn struct {
	socket io.ReadWriteCloser
	serial uint32
}

// A socket is a stream of bytes by system calls alone. Package net's would add its resolver to the
// program.
type socket int

func dialSocket(path string) (socket, error) {
	fd, err := unix.Socket(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return -1, os.NewSyscallError("socket", err)
	}
	for _, option := range []int{unix.SO_RCVTIMEO, unix.SO_SNDTIMEO} {
		if err == nil {
			err = unix.SetsockoptTimeval(fd, unix.SOL_SOCKET, option, &unix.Timeval{Sec: bound})
		}
	}
	if err == nil {
		err = unix.Connect(fd, &unix.SockaddrUnix{Name: path})
	}
	if err != nil {
		unix.Close(fd)
		return -1, &os.PathError{Op: "connect to", Path: path, Err: err}
	}
	return socket(fd), nil
}

func (s socket) Read(b []byte) (int, error) {
	for {
		n, err := unix.Read(int(s), b)
		switch {
		case err == unix.EINTR:
			continue
		case err != nil:
			return 0, os.NewSyscallError("read", err)
		case n == 0 && len(b) > 0:
			return 0, io.EOF
		}
		return n, nil
	}
}

func (s socket) Write(b []byte) (int, error) {
	done := 0
	for done < len(b) {
		// If the bus is gone, the send is an error, not a signal.
		n, err := unix.SendmsgN(int(s), b[done:], nil, nil, unix.MSG_NOSIGNAL)
		if err == unix.EINTR {
			continue
		}
		if err != nil {
			return done, os.NewSyscallError("sendmsg", err)
		}
		done += n
	}
	return done, nil
}

func (s socket) Close() error { return os.NewSyscallError("close", unix.Close(int(s))) }

// An Error is an answer that says that the call failed.
type Error struct {
	Name string // "org.freedesktop.DBus.Error.ServiceUnknown"
	Text string // may be empty
}

func (e *Error) Error() string {
	if e.Text == "" {
		return e.Name
	}
	return e.Name + ": " + e.Text
}

// A Method is a method of an object.
type Method struct{ Destination, Path, Interface, Member string }

// DialSystemBus connects to the system bus, at the first of the addresses in [SystemBusVar] that
// answers. If that is empty, it connects to [SystemBus]. Errors are those of [Dial].
func DialSystemBus() (*Conn, error) {
	list := os.Getenv(SystemBusVar)
	if list == "" {
		return Dial(SystemBus)
	}
	err := fmt.Errorf("dbus: %s: no address of a Unix socket in %q", SystemBusVar, list)
	for _, path := range unixSockets(list) {
		var c *Conn
		if c, err = Dial(path); err == nil {
			return c, nil
		}
	}
	return nil, err
}

// Dial connects to the bus at a socket, whose path begins with "@" if it's abstract. If there is no
// bus, the error is fs.ErrNotExist or ECONNREFUSED. If the bus doesn't answer for 10 s, it's
// EAGAIN.
func Dial(path string) (*Conn, error) {
	socket, err := dialSocket(path)
	if err != nil {
		return nil, err
	}
	c := &Conn{socket: socket}
	if err := c.authenticate(); err != nil {
		socket.Close()
		return nil, fmt.Errorf("dbus: authenticate: %w", err)
	}
	if _, err := c.Call(bus("Hello")); err != nil {
		socket.Close()
		return nil, err
	}
	return c, nil
}

func bus(member string) Method {
	return Method{"org.freedesktop.DBus", "/org/freedesktop/DBus", "org.freedesktop.DBus", member}
}

// Close closes the connection.
func (c *Conn) Close() error { return c.socket.Close() }

// authenticate names our user, which the kernel confirms to the bus ("Authentication Protocol",
// mechanism EXTERNAL).
func (c *Conn) authenticate() error {
	identity := fmt.Sprintf("%x", strconv.Itoa(os.Geteuid()))
	if _, err := io.WriteString(c.socket, "\x00AUTH EXTERNAL "+identity+"\r\n"); err != nil {
		return err
	}
	// Until BEGIN the bus sends lines, one for each of ours.
	var line []byte
	for b := make([]byte, 1); len(line) == 0 || line[len(line)-1] != '\n'; line = append(line, b[0]) {
		if _, err := io.ReadFull(c.socket, b); err != nil {
			return err
		}
		if len(line) > 1<<10 {
			return errMalformed
		}
	}
	if !strings.HasPrefix(string(line), "OK ") {
		return errors.New(strings.TrimSpace(string(line)))
	}
	_, err := io.WriteString(c.socket, "BEGIN\r\n")
	return err
}

// HasOwner asks the bus whether a name is taken, without starting a service.
func (c *Conn) HasOwner(name string) (bool, error) {
	_, err := c.Call(bus("GetNameOwner"), name)
	var e *Error
	if errors.As(err, &e) && e.Name == "org.freedesktop.DBus.Error.NameHasNoOwner" {
		return false, nil
	}
	return err == nil, err
}

// Call calls a method and returns its answer's first string or boolean ("true", "false"), "" if it
// has neither. A refusal is an [*Error].
func (c *Conn) Call(m Method, args ...string) (string, error) {
	c.serial++
	if _, err := c.socket.Write(encodeCall(c.serial, m, args)); err != nil {
		return "", fmt.Errorf("dbus: %s: %w", m.Member, err)
	}
	for {
		a, err := c.receive()
		switch {
		case err != nil:
			return "", fmt.Errorf("dbus: %s: %w", m.Member, err)
		case a.to != c.serial: // a signal, or a late answer
		case a.failed:
			return "", &Error{Name: a.errorName, Text: a.text}
		default:
			return a.text, nil
		}
	}
}
