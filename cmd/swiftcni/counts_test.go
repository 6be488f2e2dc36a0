// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bufio"
	"bytes"
	"fmt"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/swiftcni/swiftcni/cni"
	"github.com/swiftcni/swiftcni/internal/test/nstest"
)

// countsFile holds what an ADD and a DEL do, in numbers. `make golden` rewrites it.
const countsFile = "testdata/counts.txt"

const countsHead = `# What ADD and DEL do, in numbers that don't depend on the machine's load: of a bridge network with masquerade and
# host-local leases, where bridge, rules and leases are there already. System calls (but for those of Go's scheduler)
# and page faults are those beyond an empty Go program's. The last column is by how much a number may differ.
`

// counts are numbers by what they count: of ADD and of DEL.
type counts map[string][2]int

// TestCounts compares with the golden file. A number that falls is told as well: the file is to be
// rewritten then.
func TestCounts(t *testing.T) {
	got := measureCounts(t)
	if *update {
		if err := os.WriteFile(countsFile, got.text(), 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	golden, err := os.ReadFile(countsFile)
	if err != nil {
		t.Fatal(err)
	}
	want, err := parseCounts(golden)
	if err != nil {
		t.Fatal(err)
	}
	if diff := want.diff(got); diff != "" {
		t.Errorf("counts of ADD and DEL moved; if that's meant, rewrite %s with `make golden`:\n%s", countsFile, diff)
	}
}

// allowance is by how much a number may differ.
func allowance(what string, n int) int {
	switch {
	case what == "page faults":
		return max(n/4, 8)
	case strings.HasPrefix(what, "allocations"):
		return max(n/20, 4)
	case what == "bytes of the binary":
		return n / 100
	}
	return 0
}

func (c counts) text() []byte {
	b := bytes.NewBufferString(countsHead)
	fmt.Fprintf(b, "%-42s %8s %8s %8s\n", "#", "ADD", "DEL", "±")
	for _, what := range c.names() {
		n := c[what]
		fmt.Fprintf(b, "%-42s %8d %8d %8d\n", what, n[0], n[1], allowance(what, n[0]))
	}
	return b.Bytes()
}

func (c counts) names() (list []string) {
	for what := range c {
		list = append(list, what)
	}
	slices.Sort(list)
	return list
}

// parseCounts reads a golden file: words that say what, and three numbers.
func parseCounts(text []byte) (counts, error) {
	c := counts{}
	for line := range strings.Lines(string(text)) {
		if strings.HasPrefix(line, "#") {
			continue
		}
		fields := strings.Fields(line)
		if len(fields) < 4 {
			return nil, fmt.Errorf("%s: %q isn't a name and three numbers", countsFile, line)
		}
		n := len(fields) - 3
		var add, del int
		if _, err := fmt.Sscan(strings.Join(fields[n:], " "), &add, &del, new(int)); err != nil {
			return nil, fmt.Errorf("%s: %q: %w", countsFile, line, err)
		}
		c[strings.Join(fields[:n], " ")] = [2]int{add, del}
	}
	return c, nil
}

// diff tells each number that moved by more than it may, with what it was and what it is.
func (c counts) diff(now counts) string {
	var b strings.Builder
	both := counts{}
	for what, n := range c {
		both[what] = n
	}
	for what, n := range now {
		both[what] = n
	}
	for _, what := range both.names() {
		for i, verb := range []string{"ADD", "DEL"} {
			was, is := c[what][i], now[what][i]
			if max(was-is, is-was) > allowance(what, was) {
				fmt.Fprintf(&b, "  %s  %-42s %8d -> %d (%+d)\n", verb, what, was, is, is-was)
			}
		}
	}
	return b.String()
}

// counting is a host on which an ADD finds everything there.
type counting struct {
	t               *testing.T
	dir, host, conf string
	containers      int
}

// countedRuns is how often each verb runs. Of each number the least counts: what varies comes on
// top.
const countedRuns = 10

func measureCounts(t *testing.T) counts {
	t.Helper()
	dir := t.TempDir()
	buildRelease(t, filepath.Join(dir, "bridge"))
	empty := filepath.Join(dir, "empty.go")
	if err := os.WriteFile(empty, []byte("package main\n\nfunc main() {}\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	buildGo(t, filepath.Join(dir, "empty"), empty)
	w := &counting{t: t, dir: dir, host: nstest.New(t, "counts"), conf: strings.ReplaceAll(budgetConf, "DIR", filepath.Join(dir, "leases"))}
	nstest.Run(t, w.host, "ip", "link", "set", "lo", "up")
	w.process("ADD", w.container())

	least, base := w.run(), w.runEmpty()
	for range countedRuns - 1 {
		least.least(w.run())
		base.least(w.runEmpty())
	}
	for what, n := range base {
		least[what] = [2]int{least[what][0] - n[0], least[what][1] - n[1]}
	}
	maps.DeleteFunc(least, func(_ string, n [2]int) bool { return n == [2]int{} })
	binary, inits := w.binary()
	least["bytes of the binary"], least["package inits"] = [2]int{binary, binary}, [2]int{inits, inits}
	return least
}

// run counts what ADD and DEL do, once.
func (w *counting) run() counts {
	now, traced, timed := counts{}, w.container(), w.container()
	for i, verb := range []string{"ADD", "DEL"} {
		file := filepath.Join(w.dir, "trace")
		w.process(verb, traced, "strace", "-f", "-q", "-xx", "-s", "65536", "-o", file)
		now.addCalls(w.t, i, file)
		now.addMessages(w.t, i, file)
		now.add(i, "page faults", w.faults(w.command(verb, timed)))
	}
	w.inProcess(now)
	return now
}

// runEmpty counts what an empty Go program does, as if it were both verbs.
func (w *counting) runEmpty() counts {
	now, file := counts{}, filepath.Join(w.dir, "trace-empty")
	if out, err := exec.Command("strace", "-f", "-q", "-o", file, w.dir+"/empty").CombinedOutput(); err != nil {
		w.t.Fatalf("%v\n%s", err, out)
	}
	for verb := range 2 {
		now.addCalls(w.t, verb, file)
		now.add(verb, "page faults", w.faults(nstest.Command(w.host, "env", "-i", w.dir+"/empty")))
	}
	return now
}

// least keeps the lesser one of each number. A call that one run did without isn't needed.
func (c counts) least(now counts) {
	for _, what := range append(c.names(), now.names()...) {
		was, n := c[what], now[what]
		c[what] = [2]int{min(was[0], n[0]), min(was[1], n[1])}
	}
}

func (c counts) add(verb int, what string, n int) {
	both := c[what]
	both[verb] += n
	c[what] = both
}

// container makes a namespace and returns its path, whose last part is the container's ID.
func (w *counting) container() string {
	w.containers++
	return nstest.New(w.t, fmt.Sprintf("counted%d", w.containers))
}

func (w *counting) environment(verb, netns string) []string {
	return []string{"CNI_COMMAND=" + verb, "CNI_CONTAINERID=" + filepath.Base(netns), "CNI_IFNAME=eth0", "CNI_PATH=" + w.dir, "CNI_NETNS=" + netns}
}

// command is a verb as a process on the host, behind nsenter, which executes it.
func (w *counting) command(verb, netns string, before ...string) *exec.Cmd {
	if verb == "ADD" {
		// If something ended within 50 ms before, an ADD asks whether a child may keep its socket.
		time.Sleep(100 * time.Millisecond)
	}
	args := slices.Concat([]string{"-i"}, w.environment(verb, netns), before, []string{w.dir + "/bridge"})
	cmd := nstest.Command(w.host, "env", args...)
	cmd.Stdin = strings.NewReader(w.conf)
	return cmd
}

func (w *counting) process(verb, netns string, before ...string) {
	w.t.Helper()
	if out, err := w.command(verb, netns, before...).CombinedOutput(); err != nil {
		w.t.Fatalf("%s: %v\n%s", verb, err, out)
	}
}

// faults counts page faults of what nsenter and env execute in the end, and theirs.
func (w *counting) faults(cmd *exec.Cmd) int {
	out, err := cmd.CombinedOutput()
	if err != nil {
		w.t.Fatalf("%v\n%s", err, out)
	}
	return int(cmd.ProcessState.SysUsage().(*syscall.Rusage).Minflt)
}

// inProcess counts the allocations of a verb in this process, on a thread that stands on the host.
func (w *counting) inProcess(now counts) {
	netns := w.container()
	nstest.In(w.t, w.host, func() {
		for i, verb := range []string{"ADD", "DEL"} {
			env := map[string]string{}
			for _, each := range w.environment(verb, netns) {
				name, value, _ := strings.Cut(each, "=")
				env[name] = value
			}
			var before, after runtime.MemStats
			var said, complaint bytes.Buffer
			said.Grow(4096)
			stdin := strings.NewReader(w.conf)
			runtime.ReadMemStats(&before)
			exit := cni.Main("bridge", func(name string) string { return env[name] }, stdin, &said, &complaint)
			runtime.ReadMemStats(&after)
			if exit != 0 {
				w.t.Errorf("%s in process: %s%s", verb, said.String(), complaint.String())
			}
			now.add(i, "allocations", int(after.Mallocs-before.Mallocs))
		}
	})
}

// binary returns its size in bytes, and how many packages it initializes.
func (w *counting) binary() (size, inits int) {
	st, err := os.Stat(w.dir + "/bridge")
	if err != nil {
		w.t.Fatal(err)
	}
	cmd := exec.Command(w.dir + "/bridge")
	cmd.Env = []string{"CNI_COMMAND=VERSION", "GODEBUG=inittrace=1"}
	out, err := cmd.CombinedOutput()
	if err != nil {
		w.t.Fatalf("VERSION: %v\n%s", err, out)
	}
	for lines := bufio.NewScanner(bytes.NewReader(out)); lines.Scan(); {
		if strings.HasPrefix(lines.Text(), "init ") {
			inits++
		}
	}
	return int(st.Size()), inits
}
