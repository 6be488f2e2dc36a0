// SPDX-License-Identifier: Apache-2.0

package cni

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/swiftcni/swiftcni/internal/calls"
	"github.com/swiftcni/swiftcni/internal/fault"
	"github.com/swiftcni/swiftcni/internal/process"
	"github.com/swiftcni/swiftcni/internal/test/nstest"
)

// delegating is a network whose IPAM plugin is a script; LOG in it is a file, which log reads.
func delegating(t *testing.T, keys, script string) (n *Network, path []string, log func() string) {
	t.Helper()
	dir := t.TempDir()
	file := filepath.Join(dir, "log")
	text := "#!/bin/sh\n" + strings.ReplaceAll(script, "LOG", file)
	if err := os.WriteFile(filepath.Join(dir, "scripted"), []byte(text), 0o755); err != nil {
		t.Fatal(err)
	}
	return network(t, keys+`"ipam": {"type": "scripted"}`), []string{dir}, func() string {
		text, err := os.ReadFile(file)
		if err != nil && !errors.Is(err, os.ErrNotExist) {
			t.Fatal(err)
		}
		return strings.Join(strings.Fields(string(text)), " ")
	}
}

// A caller that waits no more ends the IPAM plugin's ADD, though a child of it holds its streams open, and not its DEL.
func TestDelegateOutlivesItsCaller(t *testing.T) {
	n, path, log := delegating(t, "", `
		echo $CNI_COMMAND begins >>LOG
		[ $CNI_COMMAND = DEL ] || { sleep 1000 & echo $! >LOG.child; wait; }
		echo $CNI_COMMAND ends >>LOG`)
	a := attachment(t, "c1")
	ctx, cancel := context.WithCancel(WithPath(t.Context(), path...))
	go func() {
		for text := ""; !strings.HasSuffix(text, "\n"); time.Sleep(time.Millisecond) {
			child, _ := os.ReadFile(filepath.Join(path[0], "log.child"))
			text = string(child)
		}
		cancel()
	}()
	if _, err := Attach(ctx, n, a); err == nil {
		t.Error("attached")
	}
	child, err := os.ReadFile(filepath.Join(path[0], "log.child"))
	if err != nil {
		t.Fatal(err)
	}
	if pid, err := strconv.Atoi(strings.TrimSpace(string(child))); err != nil || syscall.Kill(pid, syscall.SIGKILL) != nil {
		t.Errorf("its child %q isn't there: %v", child, err)
	}
	if got, want := log(), "ADD begins DEL begins DEL ends"; got != want {
		t.Errorf("the plugin did %q, want %q", got, want)
	}
	if l := left(t, n, a); l != nil {
		t.Error("left behind:", l)
	}
}

// Of many attachments each is the IPAM plugin's own affair.
func TestDelegateOfMany(t *testing.T) {
	n, path, log := delegating(t, `"isGateway": true, "ipMasq": true, "macspoofchk": true, `, `
		echo $CNI_COMMAND-$CNI_CONTAINERID >>LOG
		case $CNI_COMMAND-$CNI_CONTAINERID in
		ADD-2) echo '{"code": 77, "msg": "no"}'; exit 1;;
		ADD-*) echo '{"ips": [{"address": "10.9.0.1'$CNI_CONTAINERID'/24"}]}';;
		esac`)
	var list []Attachment
	for _, id := range []string{"1", "2", "3"} {
		list = append(list, attachment(t, id))
	}
	ctx := WithPath(t.Context(), path...)
	for i, o := range AttachAll(ctx, n, list) {
		var e *Error
		if i == 1 {
			if !errors.As(o.Err, &e) || e.Code != 77 {
				t.Errorf("the second ended with %v", o.Err)
			}
			continue
		}
		if o.Err != nil {
			t.Fatal(o.Err)
		}
		if err := Check(ctx, n, list[i], o.Result); err != nil {
			t.Error("check:", err)
		}
	}
	for _, a := range list {
		if err := Detach(ctx, n, a); err != nil {
			t.Error("detach:", err)
		}
		if l := left(t, n, a); l != nil {
			t.Error("left behind:", l)
		}
	}
	if got, want := log(), "ADD-1 ADD-2 DEL-2 ADD-3 CHECK-1 CHECK-3 DEL-1 DEL-2 DEL-3"; got != want {
		t.Errorf("the plugin did %q, want %q", got, want)
	}
}

// The plugin's answer isn't foreseen, but all that precedes it is.
func TestExplainDelegated(t *testing.T) {
	n, _, log := delegating(t, `"macspoofchk": true, `, `echo called >>LOG`)
	a := attachment(t, "c1")
	text, err := Explain(n, a)
	if err != nil {
		t.Fatal(err)
	}
	at := -1
	for _, line := range []string{"create bridge " + n.conf.Bridge.Name, "create veth", "rules      guard", "set net/ipv6/conf/eth0/accept_dad to 0",
		"set link eth0 up", "leases     ask the plugin scripted"} {
		i := strings.Index(text, line)
		if i <= at {
			t.Errorf("%q isn't told, or too early, in\n%s", line, text)
		}
		at = i
	}
	if log() != "" {
		t.Error("the plugin was called")
	}
}

// The time that the plugin takes is told apart, of ADD and of DEL.
func TestDelegateIsRecorded(t *testing.T) {
	n, path, _ := delegating(t, `"ipMasq": true, `, `sleep 0.2; echo '{"ips": [{"address": "10.9.0.11/24"}]}'`)
	a := attachment(t, "c1")
	t.Cleanup(func() { _ = calls.Remove() })
	for _, verb := range []string{"ADD", "DEL"} {
		if err := calls.Create(); err != nil {
			t.Fatal(err)
		}
		call := process.Record(WithPath(t.Context(), path...), calls.Call{Verb: verb})
		var err error
		if verb == "ADD" {
			_, err = Attach(call, n, a)
		} else {
			err = Detach(call, n, a)
		}
		if err != nil {
			t.Fatal(err)
		}
		call.End(0, "")
		list, err := calls.Load()
		if err != nil || len(list) != 1 {
			t.Fatal(list, err)
		}
		steps := list[0].Steps
		if steps[calls.Lease] < 200*time.Millisecond || steps[calls.Links] == 0 || steps[calls.Rules] == 0 || steps[calls.Undo] != 0 ||
			verb == "ADD" && steps[calls.Container] == 0 {
			t.Errorf("%s: %v", verb, steps)
		}
		if err := calls.Remove(); err != nil {
			t.Fatal(err)
		}
	}
}

// Where plugins are is said by the call, and not by the environment of the process.
func TestPathIsTheCalls(t *testing.T) {
	nstest.Kernel(t)
	n, path, log := delegating(t, "", `echo $CNI_COMMAND $CNI_PATH >>LOG`)
	t.Setenv("CNI_PATH", path[0])
	if err := Status(t.Context(), n); fault.Of(err).Code != CodeUnavailable || !strings.Contains(err.Error(), "no paths provided") {
		t.Errorf("status without a path: %v", err)
	}
	if err := GC(t.Context(), n, []Attachment{}); err == nil {
		t.Error("GC found the plugin")
	}
	ctx := WithPath(t.Context(), path...)
	if err := Status(ctx, n); err != nil {
		t.Error("status:", err)
	}
	if err := GC(ctx, n, []Attachment{}); err != nil {
		t.Error("GC:", err)
	}
	if got, want := log(), "STATUS "+path[0]+" GC "+path[0]; got != want {
		t.Errorf("the plugin did %q, want %q", got, want)
	}
}
