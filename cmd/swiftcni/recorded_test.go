// SPDX-License-Identifier: Apache-2.0

package main

import (
	"fmt"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	recorded "github.com/swiftcni/swiftcni/internal/calls"
	"github.com/swiftcni/swiftcni/internal/test/nstest"
)

// startRecording makes the file of the last calls until the test ends.
func startRecording(t *testing.T) {
	t.Helper()
	t.Cleanup(func() { _ = recorded.Remove() })
	if err := recorded.Create(); err != nil {
		t.Fatal(err)
	}
}

// TestRecordingCosts counts system calls of ADD and DEL with and without a recording: one failed to
// open the file, and with it one opens the file and one writes.
func TestRecordingCosts(t *testing.T) {
	dir := t.TempDir()
	buildRelease(t, filepath.Join(dir, "bridge"))
	w := &counting{t: t, dir: dir, host: nstest.New(t, "recorded"), conf: strings.ReplaceAll(budgetConf, "DIR", filepath.Join(dir, "leases"))}
	nstest.Run(t, w.host, "ip", "link", "set", "lo", "up")
	w.process("ADD", w.container())
	measure := func() counts {
		run := func() counts {
			now, netns, file := counts{}, w.container(), filepath.Join(dir, "trace")
			for i, verb := range []string{"ADD", "DEL"} {
				w.process(verb, netns, "strace", "-f", "-q", "-xx", "-s", "65536", "-o", file)
				now.addCalls(t, i, file)
			}
			return now
		}
		least := run()
		for range countedRuns - 1 {
			least.least(run())
		}
		return least
	}
	off := measure()
	startRecording(t)
	on := measure()
	for what, n := range off {
		on[what] = [2]int{on[what][0] - n[0], on[what][1] - n[1]}
	}
	for what, n := range on {
		want := [2]int{}
		if what == "system call pwrite64" {
			want = [2]int{1, 1}
		}
		if n != want {
			t.Errorf("%s: %v more than without a recording, want %v", what, n, want)
		}
	}
}

// TestRecordedCalls looks at what is recorded of an attachment by a chain, of its end, and of an
// ADD that fails.
func TestRecordedCalls(t *testing.T) {
	host, netns := nstest.New(t, "host"), nstest.New(t, "recorded")
	nstest.Run(t, host, "ip", "link", "set", "lo", "up")
	conf := `{ "cniVersion": "1.0.0", "name": "film", "type": "bridge", "bridge": "film0", "isGateway": true, "ipMasq": true,
  "chain": [ { "type": "firewall", "backend": "nftables" } ],
  "ipam": { "type": "host-local", "subnet": "10.96.1.0/30", "dataDir": "` + t.TempDir() + `" } }`
	call := func(verb, id string) error {
		cmd := nstest.Command(host, "env", "-i", "CNI_COMMAND="+verb, "CNI_CONTAINERID="+id, "CNI_IFNAME=eth0", "CNI_PATH="+oursDir(),
			"CNI_NETNS="+netns, filepath.Join(oursDir(), "bridge"))
		cmd.Stdin = strings.NewReader(conf)
		out, err := cmd.Output()
		if err != nil {
			return fmt.Errorf("%s %s: %w: %s", verb, id, err, out)
		}
		return nil
	}
	if err := call("ADD", "before"); err != nil {
		t.Fatal(err)
	}
	if err := call("DEL", "before"); err != nil {
		t.Fatal(err)
	}
	var list []recorded.Call
	for range 3 { // a call may be overwritten by the next, in one case of eight thousand
		startRecording(t)
		if err := call("ADD", "c1"); err != nil {
			t.Fatal(err)
		}
		if err := call("ADD", "c2"); err == nil { // the subnet has one address
			t.Fatal("a second ADD succeeded")
		}
		if err := call("DEL", "c1"); err != nil {
			t.Fatal(err)
		}
		var err error
		if list, err = recorded.Load(); err != nil {
			t.Fatal(err)
		}
		if len(list) == 3 {
			break
		}
		_ = recorded.Remove()
	}
	if len(list) != 3 {
		t.Fatal(list)
	}
	var said []string
	for _, c := range list {
		if c.Verb == "DEL" { // which has no answer
			c.Steps[recorded.Answer] = 0
		}
		text := fmt.Sprint(c.Verb, " ", c.Plugin, " ", c.Network, " ", c.ContainerID, " ", c.IfName, " ", c.Code)
		for s := range recorded.Step(recorded.NumSteps) {
			if c.Steps[s] > 0 && s != recorded.Undo { // which may take less than a microsecond
				text += " " + s.String()
			}
		}
		said = append(said, text)
	}
	want := []string{
		"ADD bridge film c1 eth0 0 parse namespace lease links rules container plugin answer",
		"ADD bridge film c2 eth0 100 parse namespace lease answer",
		"DEL bridge film c1 eth0 0 parse namespace lease links rules plugin",
	}
	if !slices.Equal(said, want) {
		t.Errorf("recorded\n%s\nwant\n%s", strings.Join(said, "\n"), strings.Join(want, "\n"))
	}
	if m := list[1].Message; !strings.Contains(m, "no IP addresses available") {
		t.Errorf("the error's text: %q", m)
	}
	if took := list[0].Took(); took < 100_000 || took > 5_000_000_000 {
		t.Errorf("an ADD took %v", took)
	}
}

// TestRecordingGoesAnywayWithAnswers: what is in the file's place doesn't concern an ADD.
func TestRecordingGoesAnywayWithAnswers(t *testing.T) {
	startRecording(t)
	if out, err := exec.Command("mkfifo", recorded.Path+".fifo").CombinedOutput(); err != nil {
		t.Fatalf("%v %s", err, out)
	}
	t.Cleanup(func() { _ = exec.Command("rm", "-rf", recorded.Dir).Run() })
	if out, err := exec.Command("mv", recorded.Path+".fifo", recorded.Path).CombinedOutput(); err != nil {
		t.Fatalf("%v %s", err, out)
	}
	cmd := exec.Command(filepath.Join(oursDir(), "bridge"))
	cmd.Env = []string{"CNI_COMMAND=DEL", "CNI_CONTAINERID=c1", "CNI_IFNAME=eth0", "CNI_PATH=" + oursDir()}
	cmd.Stdin = strings.NewReader(`{ "cniVersion": "1.0.0", "name": "film", "type": "bridge" }`)
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Errorf("DEL beside a pipe that nobody reads: %v %s", err, out)
	}
}
