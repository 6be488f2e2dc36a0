// SPDX-License-Identifier: Apache-2.0

package dbus

import (
	"bytes"
	"encoding/binary"
	"errors"
	"net"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// startBus runs a real bus for everybody at a socket.
func startBus(t testing.TB) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "bus")
	cmd := exec.Command("dbus-daemon", "--session", "--nofork", "--print-address", "--address=unix:path="+path)
	out, err := cmd.StdoutPipe()
	if err == nil {
		err = cmd.Start()
	}
	if err != nil {
		t.Fatal("package dbus is needed: ", err)
	}
	t.Cleanup(func() { _ = cmd.Process.Kill(); _ = cmd.Wait() })
	if _, err := out.Read(make([]byte, 256)); err != nil { // it listens once it has printed
		t.Fatal(err)
	}
	return path
}

func TestCallsOnARealBus(t *testing.T) {
	c, err := Dial(startBus(t))
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	if id, err := c.Call(bus("GetId")); err != nil || len(id) != 32 {
		t.Errorf("GetId: %q, %v", id, err)
	}
	if has, err := c.Call(bus("NameHasOwner"), "org.freedesktop.DBus"); err != nil || has != "true" {
		t.Errorf("NameHasOwner: %q, %v", has, err)
	}
	for name, want := range map[string]bool{"org.freedesktop.DBus": true, "com.example.Nobody": false} {
		if got, err := c.HasOwner(name); err != nil || got != want {
			t.Errorf("HasOwner %s: %v, %v", name, got, err)
		}
	}
	// A long argument crosses all paddings; the bus quotes it in its refusal.
	var e *Error
	for n := range 9 {
		long := "a." + strings.Repeat("x", n)
		if _, err := c.Call(bus("GetNameOwner"), long); !errors.As(err, &e) || n > 0 && !strings.Contains(e.Text, long) {
			t.Errorf("%s: %v", long, err)
		}
	}
	_, err = c.Call(Method{"com.example.Nobody", "/x", "com.example.X", "Y"}, "a", "b")
	if !errors.As(err, &e) || !strings.HasPrefix(e.Name, "org.freedesktop.DBus.Error.") {
		t.Errorf("a service that isn't there: %v", err)
	}
}

// Where the variable says so, the system bus is elsewhere, behind what doesn't answer and what
// isn't spoken.
func TestSystemBusAddress(t *testing.T) {
	path := startBus(t)
	for _, list := range []string{
		"unix:path=" + path, "unix:guid=00,path=" + path, "unix:path=/nowhere;unix:path=" + path, "tcp:host=localhost,port=1;unix:path=" + path + ";",
		"unix:path=" + strings.ReplaceAll(path, "/", "%2f"),
	} {
		t.Setenv(SystemBusVar, list)
		c, err := DialSystemBus()
		if err != nil {
			t.Errorf("%s: %v", list, err)
			continue
		}
		c.Close()
	}
	for _, list := range []string{"unix:path=/nowhere", "tcp:host=localhost", "unix:", "unix:path=%zz", ";;"} {
		t.Setenv(SystemBusVar, list)
		if c, err := DialSystemBus(); err == nil {
			c.Close()
			t.Errorf("%s: no error", list)
		}
	}
	if got := unixSockets("unix:abstract=a%20b,guid=1;unix:tmpdir=/x;unix:path=/p"); len(got) != 2 || got[0] != "@a b" || got[1] != "/p" {
		t.Errorf("%q", got)
	}
}

func TestNoBus(t *testing.T) {
	if _, err := Dial(filepath.Join(t.TempDir(), "bus")); err == nil {
		t.Error("no error")
	}
}

// A bus that refuses, or speaks something else, is an error and no hang.
func TestBusThatRefuses(t *testing.T) {
	for _, line := range []string{"REJECTED EXTERNAL\r\n", "garbage", strings.Repeat("x", 5000) + "\n"} {
		path := filepath.Join(t.TempDir(), "bus")
		l, err := net.Listen("unix", path)
		if err != nil {
			t.Fatal(err)
		}
		go func() {
			if c, err := l.Accept(); err == nil {
				_, _ = c.Write([]byte(line))
				_, _ = c.Read(make([]byte, 64))
				c.Close()
			}
		}()
		if _, err := Dial(path); err == nil {
			t.Errorf("%.20q: no error", line)
		}
		l.Close()
	}
}

// Whatever comes, decoding ends without reading past the message, and our own calls are understood.
func FuzzMessage(f *testing.F) {
	f.Add(encodeCall(7, Method{"a.b", "/c", "d.e", "F"}, []string{"x", "yy"}))
	f.Add(encodeCall(1, bus("Hello"), nil))
	f.Fuzz(func(t *testing.T, b []byte) {
		client, server := net.Pipe()
		go func() { _, _ = server.Write(b); server.Close() }()
		c := Conn{socket: client}
		a, err := c.receive()
		client.Close()
		if err == nil && a.to != 0 && b[1] != methodReturn && b[1] != failure {
			t.Errorf("%v answers a call", a)
		}
	})
}

func TestAnswersInBothOrders(t *testing.T) {
	for _, order := range []binary.AppendByteOrder{binary.LittleEndian, binary.BigEndian} {
		mark := byte('l')
		if order == binary.AppendByteOrder(binary.BigEndian) {
			mark = 'B'
		}
		b := []byte{mark, methodReturn, 0, 1}
		b = order.AppendUint32(b, 4)
		b = order.AppendUint32(b, 9)
		b = order.AppendUint32(b, 15)
		b = append(b, fieldReplySerial, 1, 'u', 0)
		b = order.AppendUint32(b, 5)
		b = append(b, fieldSignature, 1, 'g', 0, 1, 'b', 0, 0)
		b = order.AppendUint32(b, 1)
		client, server := net.Pipe()
		go func() { _, _ = server.Write(b) }()
		c := Conn{socket: client}
		if a, err := c.receive(); err != nil || a.to != 5 || a.text != "true" {
			t.Errorf("%c: %+v, %v", mark, a, err)
		}
		if !bytes.HasPrefix(encodeCall(1, bus("Hello"), nil), []byte{'l', methodCall}) {
			t.Error("a call that's none")
		}
	}
}
