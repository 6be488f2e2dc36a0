// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bytes"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/swiftcni/swiftcni/internal/test/box"
	"github.com/swiftcni/swiftcni/internal/tool/build"
	"golang.org/x/sys/unix"
)

// TestMain makes the test binary a box's first process, a worker, or a plugin that leaks, where
// it's called so.
func TestMain(m *testing.M) {
	box.Main()
	insideMain()
	if kind, ok := strings.CutPrefix(filepath.Base(os.Args[0]), "leaky-"); ok {
		os.Exit(leak(kind))
	}
	if kind, ok := strings.CutPrefix(filepath.Base(os.Args[0]), "resident-"); ok {
		os.Exit(faultyResident(kind))
	}
	os.Exit(m.Run())
}

// leaky plugins do all that swiftcni does, and one thing wrong. The text is what their trials must
// tell.
var leaky = map[string]string{
	"del":     "file /var/lib/cni/networks/crash/172.19.1.3",
	"link":    "host link leak-c1",
	"rule":    "nft table inet leak-c1",
	"routing": "host rule from 10.99.0.1/32 table 1991",
	"file":    "file /var/lib/cni/networks/tmp-c1",
	"process": "process sleep",
	"netns":   "network namespaces held",
	"address": "has the address 172.19.1.2 of",
	"words":   "failure without an error object",
}

// leak is such a plugin. It runs as the real one's neighbour.
func leak(kind string) int {
	verb, id := os.Getenv("CNI_COMMAND"), os.Getenv("CNI_CONTAINERID")
	run := func(command string) {
		if err := exec.Command("sh", "-c", command).Run(); err != nil {
			fmt.Fprintln(os.Stderr, command, err)
		}
	}
	if verb == "DEL" && kind == "del" {
		return 0
	}
	if verb == "ADD" {
		switch kind {
		case "link":
			run("ip link add leak-" + id + " type veth peer name peer-" + id)
		case "rule":
			run("nft add table inet leak-" + id)
		case "routing":
			run(fmt.Sprintf("ip rule add from 10.99.0.1 table %d", 1000+10*int(id[0])+int(id[1]-'0')))
		case "file":
			run("mkdir -p /var/lib/cni/networks; touch /var/lib/cni/networks/tmp-" + id)
		case "process":
			run("sleep 1000 >/dev/null 2>&1 </dev/null &")
		case "netns":
			run("touch /run/held-" + id + "; mount --bind " + os.Getenv("CNI_NETNS") + " /run/held-" + id)
		}
	}
	cmd := exec.Command(filepath.Join(filepath.Dir(os.Args[0]), "bridge"))
	cmd.Stdin, cmd.Stderr = os.Stdin, os.Stderr
	out, err := cmd.Output()
	if kind == "address" && verb == "ADD" {
		out = bytes.ReplaceAll(out, []byte("172.19.1.3/"), []byte("172.19.1.2/"))
	}
	if err != nil && kind == "words" {
		out = []byte("it didn't work\n")
	}
	_, _ = os.Stdout.Write(out)
	if err != nil {
		return 1
	}
	return 0
}

// buildOurs builds swiftcni into a directory of the test's own.
func buildOurs(t *testing.T) (builder, Plugin) {
	t.Helper()
	root, err := build.Root()
	if err != nil {
		t.Fatal(err)
	}
	b := builder{root: root, cache: t.TempDir(), progress: io.Discard}
	p, err := b.ours("")
	if err != nil {
		t.Fatal(err)
	}
	return b, p
}

func start(t *testing.T, boxes int, plugins ...Plugin) *pool {
	t.Helper()
	p, err := newPool(boxes, plugins, os.Stderr)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(p.close)
	return p
}

// TestSwiftcniLeavesNothing tries a sample of all modes, spread over the calls of each verb. Of
// power cuts it's a large one, since what they leave depends on the damage as well.
func TestSwiftcniLeavesNothing(t *testing.T) {
	_, p := buildOurs(t)
	s := &schedule{options: options{quick: true}, pool: start(t, 6, p), report: newReport(nil), stderr: io.Discard}
	for mode, step := range map[string]int{modeKill: 40, modeFail: 40, modePower: 5, modeLimits: 40} {
		t.Run(mode, func(t *testing.T) { s.trySample(t, &p, mode, step) })
	}
}

// TestListsLeaveNothing tries fewer of each plugin in a list, and of bridge with a chain.
func TestListsLeaveNothing(t *testing.T) {
	_, p := buildOurs(t)
	list := lists(p)
	s := &schedule{options: options{quick: true}, pool: start(t, 6, list...), report: newReport(nil), stderr: io.Discard}
	for i := range list {
		for mode, step := range map[string]int{modeKill: 97, modeFail: 89, modePower: 61, modeLimits: 151} {
			if list[i].Modes != nil && !slices.Contains(list[i].Modes, mode) {
				continue
			}
			t.Run(list[i].Name+"/"+mode, func(t *testing.T) { s.trySample(t, &list[i], mode, step) })
		}
	}
}

// trySample tries each step-th trial.
func (s *schedule) trySample(t *testing.T, p *Plugin, mode string, step int) {
	var all, trials []Trial
	for _, verb := range allVerbs {
		more, err := s.trialsOf(p, mode, verb)
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, more...)
	}
	for i := step / 2; i < len(all); i += step {
		trials = append(trials, all[i])
		trials[len(trials)-1].ID = len(trials)
	}
	if len(trials) == 0 {
		t.Fatalf("none of %d trials", len(all))
	}
	outcomes, err := s.pool.try(trials, nil)
	if err != nil {
		t.Fatal(err)
	}
	reached := 0
	for _, o := range outcomes {
		if !o.clean() {
			t.Errorf("%v: %q %q %q\n%s", o.Trial, o.Leaks, o.Wrong, o.Twice, strings.Join(o.Log, "\n"))
		}
		if o.Reached {
			reached++
		}
	}
	if reached < len(trials)*9/10 {
		t.Errorf("of %d system calls only %d were made", len(trials), reached)
	}
}

func TestLeaksAreFound(t *testing.T) {
	_, p := buildOurs(t)
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	plugins := []Plugin{p}
	for kind := range leaky {
		bad := p
		bad.Name, bad.Path = kind, filepath.Join(filepath.Dir(p.Path), "leaky-"+kind)
		if err := os.Symlink(self, bad.Path); err != nil {
			t.Fatal(err)
		}
		plugins = append(plugins, bad)
	}
	pool := start(t, 1, plugins...)
	for kind, want := range leaky {
		t.Run(kind, func(t *testing.T) {
			o, err := pool.one(Trial{ID: 1, Plugin: kind, Mode: modeKill, Verb: "DEL", At: Call{"exit_group", 1}})
			all := strings.Join(slices.Concat(o.Leaks, o.Wrong, o.Twice), "\n")
			if err != nil { // so bad that it doesn't even work undisturbed
				all = err.Error()
			}
			if !strings.Contains(all, want) {
				t.Errorf("%q isn't told:\n%s\n%s", want, all, strings.Join(o.Log, "\n"))
			}
		})
	}
}

// A failure that's put in is what the program sees, and counting survives threads and children.
func TestCallsAreCountedAndFail(t *testing.T) {
	_, p := buildOurs(t)
	pool := start(t, 1, p)
	record, err := pool.one(Trial{ID: 1, Plugin: p.Name, Mode: modeRecord, Verb: "ADD"})
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"openat", "linkat", "symlinkat", "socket", "sendto", "exit_group"} {
		if !slices.Contains(record.Calls, Call{name, 1}) {
			t.Errorf("no %s among the calls of an ADD", name)
		}
	}
	failed, err := pool.one(Trial{ID: 2, Plugin: p.Name, Mode: modeFail, Verb: "ADD", At: Call{"linkat", 1}, Errno: unix.ENOSPC})
	if err != nil {
		t.Fatal(err)
	}
	if !failed.Reached || !strings.Contains(strings.Join(failed.Log, "\n"), "no space left on device") {
		t.Errorf("the ADD doesn't say why it failed:\n%s", strings.Join(failed.Log, "\n"))
	}
	if !failed.clean() {
		t.Errorf("%q %q %q", failed.Leaks, failed.Wrong, failed.Twice)
	}
}

func TestRulesetIsTakenApart(t *testing.T) {
	s := snapshot{}
	s.rulesetText(`table inet swiftcni {
	set masq4 {
		type ipv4_addr
		elements = { 172.19.1.2 comment "crash/c1/eth0",
			     172.19.1.3 comment "crash/c2/eth0" }
	}

	chain postrouting {
		type nat hook postrouting priority srcnat; policy accept;
	}
}`)
	for _, want := range []string{
		"nft table inet swiftcni", "nft table inet swiftcni set masq4",
		`nft table inet swiftcni set masq4 element 172.19.1.2 comment "crash/c1/eth0"`,
		`nft table inet swiftcni set masq4 element 172.19.1.3 comment "crash/c2/eth0"`,
		"nft table inet swiftcni chain postrouting type nat hook postrouting priority srcnat; policy accept;",
	} {
		if !s[want] {
			t.Errorf("no %q in %q", want, sorted(keys(s)))
		}
	}
}
