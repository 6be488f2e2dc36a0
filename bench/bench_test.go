// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bufio"
	"bytes"
	"encoding/json"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/swiftcni/swiftcni/internal/test/box"
)

// programVar makes the test binary the program itself.
const programVar = "SWIFTCNI_BENCH_PROGRAM"

func TestMain(m *testing.M) {
	box.Main()
	busyMain()
	guestMain()
	insideMain()
	if os.Getenv(programVar) != "" {
		os.Args[0] = "bench"
		main()
		return
	}
	os.Exit(m.Run())
}

// TestEverybodyDoesTheWork runs all contestants for real, and asserts what doesn't vary from run to
// run. The first round verifies that each one attaches and detaches.
func TestEverybodyDoesTheWork(t *testing.T) {
	file := filepath.Join(t.TempDir(), "report.json")
	var table, progress bytes.Buffer
	everybody := []string{swiftcni, residents, reference, referenceIPTables, referenceNFTables, floor, emptyC, emptyGo, idle} // maybe netavark
	args := []string{"-n", "2", "-warmup", "1", "-traced", "1", "-json", file, "-only", strings.Join(everybody, ",")}
	if err := run(args, &table, &progress); err != nil {
		t.Fatalf("%v\n%s%s", err, progress.String(), table.String())
	}
	t.Log(table.String())
	encoded, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	var r Report
	if err := json.Unmarshal(encoded, &r); err != nil {
		t.Fatal(err)
	}
	for _, name := range everybody {
		if n := len(r.attachTimes(name, verbAdd)); n != 2 {
			t.Errorf("%s: %d samples of ADD, want 2", name, n)
		}
		if !strings.Contains(table.String(), name) {
			t.Errorf("the table lacks %s", name)
		}
	}
	checkCounts(t, r.Counts)
	if want := 2 * (4 + 5 + 1); len(r.Ratios) != want { // to swiftcni; to the floor; beyond empty programs
		t.Errorf("%d ratios, want %d", len(r.Ratios), want)
	}
}

func checkCounts(t *testing.T, counts map[string]map[string]Counts) {
	t.Helper()
	add, del := counts[floor][verbAdd], counts[floor][verbDel]
	if add.Execs != 0 || add.Tasks != 0 || add.Sends != 3 || add.Receives != 3 || add.Syscalls > 42 {
		t.Errorf("the floor's ADD: %+v", add)
	}
	if del.Execs != 0 || del.Tasks != 0 || del.Sends != 2 || del.Receives != 2 || del.Syscalls > 31 {
		t.Errorf("the floor's DEL: %+v", del)
	}
	if n := counts[emptyC][verbAdd]; n.Syscalls > 20 || n.Syscalls < 3 || n.Faults == 0 || n.RSS == 0 {
		t.Errorf("the empty C program: %+v", n)
	}
	if n := counts[emptyGo][verbAdd]; n.Execs != 0 || n.Tasks == 0 || n.Own <= counts[emptyC][verbAdd].Own {
		t.Errorf("the empty Go program: %+v", n)
	}
	// The reference executes host-local, and iptables where it's told to: else it isn't what we
	// compare with.
	for name, execs := range map[string]int{reference: 1, referenceNFTables: 2, referenceIPTables: 5} {
		if n := counts[name][verbAdd]; n.Execs < execs || n.Sends < 10 {
			t.Errorf("ADD of %s: %+v", name, n)
		}
	}
	// An ADD may cost this much: one answer to each batch, and the question whether the bridge has
	// its gateway already. No test can promise its time.
	ours, empty := counts[swiftcni][verbAdd], counts[emptyGo][verbAdd]
	if ours.Execs != 0 || ours.Sends > 4 || ours.Receives > 5 || ours.Own > empty.Own+80 {
		t.Errorf("ADD of swiftcni: %+v, of an empty Go program: %+v", ours, empty)
	}
}

func TestAbsentContestantIsAnError(t *testing.T) {
	var table, progress bytes.Buffer
	err := run([]string{"-n", "1", "-warmup", "1", "-traced", "0", "-only", "swiftcni,empty-c", "-swiftcni", "/nonexistent"}, &table, &progress)
	if err == nil || !strings.Contains(err.Error(), "absent: swiftcni") {
		t.Errorf("error %v", err)
	}
	if !strings.Contains(table.String(), "/nonexistent") || !strings.Contains(table.String(), emptyC) {
		t.Errorf("table:\n%s", table.String())
	}
}

func TestUselessPluginIsAnError(t *testing.T) {
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "idle"), []byte("#!/bin/sh\ncat >/dev/null\n"), 0o755); err != nil {
		t.Fatal(err)
	}
	conf := filepath.Join(dir, "idle.conf")
	if err := os.WriteFile(conf, []byte(`{"cniVersion":"1.0.0","name":"n","type":"idle"}`), 0o644); err != nil {
		t.Fatal(err)
	}
	// The box's words for the error go to its standard error, which is the test's way to see them.
	var progress bytes.Buffer
	err := run([]string{"-n", "1", "-plugin", "idle=" + dir + ":" + conf, "-only", "idle"}, io.Discard, &progress)
	if err == nil || !strings.Contains(progress.String(), "idle: ADD: the container's address is invalid IP") {
		t.Errorf("error %v\n%s", err, progress.String())
	}
}

// TestInterruptLeavesNothing waits for the end of standard error, which every process of the box
// but PID 1 holds open: they end because PID 1 does.
func TestInterruptLeavesNothing(t *testing.T) {
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(self, "-n", "100000", "-only", emptyC)
	cmd.Env = append(os.Environ(), programVar+"=1")
	stderr, err := cmd.StderrPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	lines := bufio.NewScanner(stderr)
	for lines.Scan() && !strings.Contains(lines.Text(), "measuring") {
	}
	if err := cmd.Process.Signal(unix.SIGINT); err != nil {
		t.Fatal(err)
	}
	for lines.Scan() {
	}
	if err := cmd.Wait(); err == nil || cmd.ProcessState.ExitCode() >= 0 {
		t.Errorf("interrupted: %v", err)
	}
}

func TestParseTrace(t *testing.T) {
	// Two processes, one of two threads; a call cut in two, and one line of each kind that isn't a
	// call.
	const trace = `10    execve("/p", [""...], 0x7ff /* 9 vars */) = 0
10    socket(AF_NETLINK, SOCK_RAW|SOCK_CLOEXEC, NETLINK_ROUTE) = 3<NETLINK:[143717]>
10    sendto(3<NETLINK:[143717]>, [{nlmsg_len=20}], 20, 0, NULL, 0) = 20
10    clone(child_stack=0x35a, flags=CLONE_VM|CLONE_THREAD) = 11
10    recvfrom(3<NETLINK:[ROUTE:10]>,  <unfinished ...>
11    futex(0x5a8, FUTEX_WAIT_PRIVATE, 0, NULL) = 0
10    <... recvfrom resumed>[{nlmsg_len=36}], 4096, 0, NULL, NULL) = 36
10    sendto(4<UNIX-STREAM:[1->2]>, ""..., 4, 0, NULL, 0) = 4
12    execve("/a/q", [""...], 0x7ff /* 9 vars */) = -1 ENOENT (No such file or directory)
12    execve("/b/q", [""...], 0x7ff /* 9 vars */ <unfinished ...>
10    --- SIGCHLD {si_signo=SIGCHLD, si_code=CLD_EXITED, si_pid=12} ---
12    <... execve resumed>)             = 0
12    write(1<pipe:[7]>, ""..., 4)      = 4
12    +++ exited with 0 +++
10    exit_group(0)                     = ?
`
	got, err := parseTrace(strings.NewReader(trace))
	want := Counts{Syscalls: 11, Own: 9, Execs: 1, Sends: 1, Receives: 1, Tasks: 2, Calls: map[string]int{
		"execve": 3, "socket": 1, "sendto": 2, "clone": 1, "recvfrom": 1, "futex": 1, "write": 1, "exit_group": 1}}
	if err != nil || !reflect.DeepEqual(got, want) {
		t.Errorf("counts %+v, %v; want %+v", got, err, want)
	}
	if _, err := parseTrace(strings.NewReader("")); err == nil {
		t.Error("an empty trace is no error")
	}
}

func TestParseFlags(t *testing.T) {
	o, err := parseFlags([]string{"-quick", "-only", "a,b", "-seed", "7"}, io.Discard)
	if err != nil || !slices.Equal(o.only, []string{"a", "b"}) || o.seed != 7 || o.experiments[0].name != "attach" {
		t.Errorf("%+v, %v", o, err)
	}
	if p := o.experiments[0].plans(o); len(p) != 1 || p[0].Rounds != 30 {
		t.Errorf("%+v", p)
	}
	if o, err = parseFlags([]string{"flat", "-quick", "-n", "9"}, io.Discard); err != nil {
		t.Fatal(err)
	}
	if p := o.experiments[0].plans(o); len(p) != 5 || p[0].Rounds != 9 || p[0].Traced != 0 {
		t.Errorf("%+v", p)
	}
	if o, err = parseFlags([]string{"compare", "A", "-n", "7", "B"}, io.Discard); err != nil || !slices.Equal(o.revisions, []string{"A", "B"}) || o.rounds != 7 {
		t.Errorf("%+v, %v", o, err)
	}
	for _, bad := range [][]string{{"-n", "-1"}, {"stray"}, {"attach", "stray"}, {"compare"}, {"compare", "A", "B", "C"}, {"-plugin", "x"}, {"-plugin", "x=/bin:/nonexistent"}, {"-warmup", "0"}} {
		if _, err := parseFlags(bad, io.Discard); err == nil {
			t.Errorf("%v is no error", bad)
		}
	}
}

func TestUnknownContestantIsAnError(t *testing.T) {
	if err := run([]string{"-only", "flor"}, io.Discard, io.Discard); err == nil || !strings.Contains(err.Error(), "flor") {
		t.Errorf("error %v", err)
	}
}

// TestKeepBusy measures beside a job, which the report tells. A job that got no processor is an error.
func TestKeepBusy(t *testing.T) {
	file := filepath.Join(t.TempDir(), "report.json")
	var progress bytes.Buffer
	if err := run([]string{"-n", "2", "-traced", "0", "-busy", "1", "-only", floor, "-json", file}, io.Discard, &progress); err != nil {
		t.Fatalf("%v\n%s", err, progress.String())
	}
	encoded, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	var r Report
	if err := json.Unmarshal(encoded, &r); err != nil {
		t.Fatal(err)
	}
	if r.Busy != 1 {
		t.Errorf("the report tells of %d jobs", r.Busy)
	}
}
