// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"

	"github.com/swiftcni/swiftcni/internal/handover"
	"github.com/swiftcni/swiftcni/internal/resident"
	"golang.org/x/sys/unix"
)

// buildResident builds swiftcni with the program that makes its calls.
func buildResident(t *testing.T) Plugin {
	t.Helper()
	b, p := buildOurs(t)
	p, _, err := b.residents(p)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// TestResidentLeavesNothing tries some calls that a resident always makes, and its caller.
func TestResidentLeavesNothing(t *testing.T) {
	p := buildResident(t)
	pool := start(t, 3, p)
	var trials []Trial
	for _, c := range []struct {
		mode, verb string
		at         Call
		errno      syscall.Errno
		caller     bool
	}{
		{modeKill, "ADD", Call{"accept4", 1}, 0, false},
		{modeKill, "ADD", Call{"linkat", 1}, 0, false},
		{modeKill, "ADD", Call{"setns", 1}, 0, false},
		{modeKill, "ADD", Call{"epoll_ctl", 2}, 0, false}, // after the answer
		{modeKill, "DEL", Call{"unlinkat", 1}, 0, false},
		{modeKill, "CHECK", Call{"setns", 2}, 0, false},
		{modeKill, "GC", Call{"flock", 1}, 0, false},
		{modeFail, "ADD", Call{"accept4", 1}, unix.EMFILE, false},
		{modeFail, "ADD", Call{"epoll_ctl", 1}, unix.ENOSPC, false},
		{modeFail, "ADD", Call{"linkat", 1}, unix.ENOSPC, false},
		{modeFail, "DEL", Call{"flock", 1}, unix.ENOLCK, false},
		{modeFail, "CHECK", Call{"setns", 2}, unix.ENOMEM, false},
		{modeFail, "ADD", Call{"connect", 1}, unix.ENOMEM, true},
		{modeCaller, "ADD", Call{"linkat", 1}, 0, false},
		{modeCaller, "DEL", Call{"unlinkat", 1}, 0, false},
		{modeCaller, "ADD", Call{"sendmsg", 1}, 0, true},
		{modePower, "ADD", Call{"linkat", 1}, 0, false},
	} {
		trial := Trial{ID: len(trials) + 1, Plugin: p.Name, Mode: c.mode, Verb: c.verb, At: c.at, Errno: c.errno, Caller: c.caller}
		if c.mode == modePower {
			trial.Event = damageEmpty
		}
		trials = append(trials, trial)
	}
	for limit := range 3 {
		trials = append(trials, Trial{ID: len(trials) + 1, Plugin: p.Name, Mode: modeLimits, Verb: "ADD", Event: eventFiles, Limit: limit + 1})
	}
	outcomes, err := pool.try(trials, nil)
	if err != nil {
		t.Fatal(err)
	}
	for _, o := range outcomes {
		lost := o.Trial.At.Name == "setns" && o.Trial.Mode == modeFail // a thread that can't come back ends the process
		if !o.clean() || !o.Reached || o.Crashed != lost {
			t.Errorf("%v: reached %t, crashed %t, %q %q %q\n%s", o.Trial, o.Reached, o.Crashed, o.Leaks, o.Wrong, o.Twice, strings.Join(o.Log, "\n"))
		}
	}
}

// faultyResidents do one thing wrong after each call. The text is what their trials must tell.
var faultyResidents = map[string]struct {
	do   func()
	want string
}{
	"keeps": {func() {
		var fds [2]int
		_ = unix.Pipe2(fds[:], unix.O_CLOEXEC)
	}, "descriptor of the resident: pipe"},
	"ends":   {func() { os.Exit(3) }, "the resident ends: exit status 3"},
	"panics": {func() { panic("no reason") }, "a call failed beyond repair"},
}

// faultyResident is such a resident.
func faultyResident(kind string) int {
	s, err := resident.New(resident.Options{
		Log:  func(text string) { fmt.Fprintln(os.Stderr, text) },
		Done: func(resident.Call) { faultyResidents[kind].do() },
	})
	if err != nil {
		return 1
	}
	l, err := resident.Listen(handover.Socket)
	if err != nil {
		return 1
	}
	_ = s.Serve(context.Background(), l)
	return 1
}

func TestFaultyResidentsAreFound(t *testing.T) {
	_, p := buildOurs(t)
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	var plugins []Plugin
	for kind := range faultyResidents {
		bad := p
		bad.Name, bad.Resident = kind, filepath.Join(filepath.Dir(p.Path), "resident-"+kind)
		if err := os.Symlink(self, bad.Resident); err != nil {
			t.Fatal(err)
		}
		plugins = append(plugins, bad)
	}
	pool := start(t, 1, plugins...)
	for kind, faulty := range faultyResidents {
		o, err := pool.one(Trial{ID: 1, Plugin: kind, Mode: modeRecord, Verb: "ADD", Cold: true})
		all := strings.Join(slices.Concat(o.Leaks, o.Wrong, o.Twice), "\n")
		if err != nil { // so bad that it doesn't even work undisturbed
			all = err.Error()
		}
		if !strings.Contains(all, faulty.want) {
			t.Errorf("%s: %q isn't told:\n%s\n%s", kind, faulty.want, all, strings.Join(o.Log, "\n"))
		}
	}
}
