// SPDX-License-Identifier: Apache-2.0

// Package dbus calls methods on the system bus, with strings as arguments and as answer. That is all that firewalld
// takes, and a library for the whole of D-Bus would be a tenth of the plugin.
package dbus

import (
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"strconv"
	"strings"
	"time"
)

// SystemBus is the system bus's socket, as the D-Bus specification names it ("Well-known Message Bus Instances").
const SystemBus = "/run/dbus/system_bus_socket"

// bound is how long an answer may take: a firewall that rebuilds its rules takes a second or two.
const bound = 10 * time.Second

// A Conn is a connection to a bus, for one goroutine at a time. Close it.
type Conn struct {
	socket net.Conn
	serial uint32
}

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

// A Method is one of an object's.
type Method struct{ Destination, Path, Interface, Member string }

// Dial connects to the bus at a socket. Where no bus is the error is fs.ErrNotExist or ECONNREFUSED.
func Dial(path string) (*Conn, error) {
	socket, err := net.Dial("unix", path)
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

// authenticate says who we are, which the kernel confirms to the bus ("Authentication Protocol", mechanism EXTERNAL).
func (c *Conn) authenticate() error {
	_ = c.socket.SetDeadline(time.Now().Add(bound))
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

// HasOwner asks the bus whether a name is taken, and starts nobody.
func (c *Conn) HasOwner(name string) (bool, error) {
	_, err := c.Call(bus("GetNameOwner"), name)
	var e *Error
	if errors.As(err, &e) && e.Name == "org.freedesktop.DBus.Error.NameHasNoOwner" {
		return false, nil
	}
	return err == nil, err
}

// Call calls a method and returns its answer's first string or boolean ("true", "false"), "" if it has neither. A refusal
// is an [*Error].
func (c *Conn) Call(m Method, args ...string) (string, error) {
	_ = c.socket.SetDeadline(time.Now().Add(bound))
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
