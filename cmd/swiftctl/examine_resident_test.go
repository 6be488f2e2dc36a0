// SPDX-License-Identifier: Apache-2.0

package main

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/swiftcni/swiftcni/internal/resident"
	"golang.org/x/sys/unix"
)

// residentFindings are the kinds that doctor finds of a resident.
func residentFindings(t *testing.T, path string) (kinds []string, remedy string) {
	t.Helper()
	var x examination
	if err := x.resident(t.Context(), path); err != nil {
		t.Error(err)
	}
	for _, f := range x.found {
		kinds, remedy = append(kinds, f.Kind), f.Remedy
	}
	return kinds, remedy
}

func TestDoctorAsksTheResident(t *testing.T) {
	if kinds, _ := residentFindings(t, filepath.Join(t.TempDir(), "none")); kinds != nil {
		t.Error("without a resident:", kinds)
	}
	s := supervise(t, "1")
	for s.next(t) != "READY=1" {
	}
	if kinds, _ := residentFindings(t, s.path); kinds != nil {
		t.Error("beside a resident of its own version:", kinds)
	}
	if note := residentNote(t.Context(), s.path); note == "" {
		t.Error("nothing is said of a resident that's well")
	}

	path := filepath.Join(t.TempDir(), "silent")
	l, err := resident.Listen(path)
	if err != nil {
		t.Fatal(err)
	}
	if kinds, remedy := residentFindings(t, path); len(kinds) != 1 || kinds[0] != "resident-silent" || remedy != "systemctl restart swiftcni.service" {
		t.Error("nobody answers:", kinds, remedy)
	}
	l.Close()
	if kinds, remedy := residentFindings(t, path); len(kinds) != 1 || kinds[0] != "resident-silent" || remedy != "rm "+path {
		t.Error("nobody listens:", kinds, remedy)
	}
	if note := residentNote(t.Context(), path); note != "" {
		t.Error("nobody listens, and it says", note)
	}
	if err := os.Remove(path); err != nil {
		t.Fatal(err)
	}
	if kinds, _ := residentFindings(t, path); kinds != nil {
		t.Error("after the remedy:", kinds)
	}
}

// A resident that differs is found: one of another version, and one that sends calls back.
func TestDoctorNamesAnotherResident(t *testing.T) {
	for want, answers := range map[string]struct {
		status byte
		text   string
	}{
		"resident-version": {0, "v0.0.1-another\n"},
		"resident-apart":   {255, ""},
	} {
		path := filepath.Join(t.TempDir(), "resident")
		l, err := resident.Listen(path)
		if err != nil {
			t.Fatal(err)
		}
		go answerOne(t, l, answers.status, answers.text)
		if kinds, _ := residentFindings(t, path); len(kinds) != 1 || kinds[0] != want {
			t.Errorf("found %q, want %s", kinds, want)
		}
		l.Close()
	}
}

// answerOne answers a caller as a resident does, with a text on its standard output.
func answerOne(t *testing.T, l *resident.Listener, status byte, text string) {
	conn, err := l.AcceptUnix()
	if err != nil {
		t.Error(err)
		return
	}
	defer conn.Close()
	control := make([]byte, 256)
	_, n, _, _, err := conn.ReadMsgUnix(make([]byte, 4096), control)
	if err != nil {
		t.Error(err)
		return
	}
	for i, fd := range rights(t, control[:n]) {
		f := os.NewFile(uintptr(fd), "stream")
		if i == 1 {
			_, _ = f.WriteString(text)
		}
		f.Close()
	}
	_, _ = conn.Write([]byte{status})
}

// rights are the descriptors of a message.
func rights(t *testing.T, control []byte) (fds []int) {
	messages, err := unix.ParseSocketControlMessage(control)
	if err != nil || len(messages) != 1 {
		t.Error(len(messages), err)
		return nil
	}
	if fds, err = unix.ParseUnixRights(&messages[0]); err != nil {
		t.Error(err)
	}
	return fds
}
