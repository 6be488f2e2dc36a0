// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/swiftcni/swiftcni/internal/handover"
	"github.com/swiftcni/swiftcni/internal/resident"
	"golang.org/x/sys/unix"
)

// residentName is the name by which the tests' binary is a resident.
const residentName = "resident"

// residentMain is a resident that prints a line when it's ready, and one for each call.
func residentMain() (status int) {
	var mu sync.Mutex
	say := func(format string, args ...any) {
		mu.Lock()
		defer mu.Unlock()
		fmt.Printf(format+"\n", args...)
	}
	s, err := resident.New(resident.Options{
		Log:  func(text string) { say("log %s", text) },
		Done: func(c resident.Call) { say("%s %s %t", c.Plugin, c.Verb, c.Err == nil) },
	})
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	l, err := resident.Listen(handover.Socket)
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	say("ready")
	if err := s.Serve(context.Background(), l); err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	return 0
}

// residing is a resident of a world.
type residing struct {
	cmd   *exec.Cmd
	mu    sync.Mutex
	calls []string // that it has made, such as "bridge ADD true"
}

// reside starts a resident on the world's host. It ends with the test.
func (w *world) reside() *residing {
	w.t.Helper()
	r := &residing{cmd: exec.Command("/proc/self/exe")}
	r.cmd.Args = []string{residentName}
	r.cmd.Stderr = os.Stderr
	out, err := r.cmd.StdoutPipe()
	if err != nil {
		w.t.Fatal(err)
	}
	if err := w.startPlugin(r.cmd); err != nil {
		w.t.Fatal(err)
	}
	w.t.Cleanup(r.kill)
	lines := bufio.NewScanner(out)
	if !lines.Scan() || lines.Text() != "ready" {
		w.t.Fatalf("the resident says %q, not that it's ready", lines.Text())
	}
	go func() {
		for lines.Scan() {
			r.mu.Lock()
			r.calls = append(r.calls, lines.Text())
			r.mu.Unlock()
		}
	}()
	return r
}

func (r *residing) kill() {
	_ = r.cmd.Process.Kill()
	_ = r.cmd.Wait()
}

// said are the calls that the resident has made so far.
func (r *residing) said() []string {
	r.mu.Lock()
	defer r.mu.Unlock()
	return append([]string(nil), r.calls...)
}

// waitFor waits until it has made so many calls: it tells of one before its answer, but by a pipe.
func (r *residing) waitFor(t testing.TB, n int) []string {
	t.Helper()
	for deadline := time.Now().Add(time.Minute); ; {
		if calls := r.said(); len(calls) >= n {
			return calls
		}
		if time.Now().After(deadline) {
			t.Fatalf("the resident has made the calls %q, want %d", r.said(), n)
		}
		time.Sleep(time.Millisecond)
	}
}

const residentConf = `{"cniVersion":"1.1.0","name":"resided","type":"bridge","bridge":"resided0","isGateway":true,"ipMasq":true,
	"ipam":{"type":"host-local","subnet":"10.8.0.0/24","dataDir":"/run/leases"}}`

func bridgeCall(verb, container string) call {
	return call{verb: verb, container: container, ifName: "eth0", conf: []byte(residentConf)}
}

// The resident makes the calls, and what they leave and print is what a process would.
func TestResidentMakesCalls(t *testing.T) {
	w := newWorld(t, t.TempDir())
	r := w.reside()
	if err := w.netns("c1"); err != nil {
		t.Fatal(err)
	}
	for _, verb := range []string{"VERSION", "ADD", "CHECK", "DEL", "DEL"} {
		a, err := w.run(bridgeCall(verb, "c1"))
		if err != nil || a.status != 0 {
			t.Fatalf("%s: %v %d %s %s", verb, err, a.status, a.stdout, a.stderr)
		}
	}
	bad, err := w.run(call{verb: "ADD", container: "-", ifName: "eth0", conf: []byte(residentConf)})
	if err != nil || bad.status != 1 || !strings.Contains(string(bad.stdout), "invalid characters") {
		t.Errorf("a bad container ID: %v %d %s", err, bad.status, bad.stdout)
	}
	calls := strings.Join(r.waitFor(t, 6), ", ")
	if want := "bridge VERSION true, bridge ADD true, bridge CHECK true, bridge DEL true, bridge DEL true, bridge ADD false"; calls != want {
		t.Errorf("the resident made the calls %s\nwant %s", calls, want)
	}
	w.finish()
}

// A call whose names mean something else to the resident, or whose process may do less, is made by
// its own process.
func TestResidentLeavesCallsOfOtherPlaces(t *testing.T) {
	w := newWorld(t, t.TempDir())
	r := w.reside()
	for _, name := range []string{"c1", "host2"} {
		if err := w.netns(name); err != nil {
			t.Fatal(err)
		}
	}
	plugin := filepath.Join(oursDir(), "bridge")
	for _, test := range []struct {
		name   string
		in     string // namespace, or the host
		env    []string
		before []string // program that starts the plugin
		status int
	}{
		{"no verb", "", []string{"CNI_COMMAND="}, nil, 0},
		{"another network namespace", "host2", nil, nil, 0},
		{"another mount namespace", "", nil, []string{"unshare", "-m"}, 0},
		{"another PID namespace", "", nil, []string{"unshare", "-p", "-f"}, 0},
		{"another user namespace", "", nil, []string{"unshare", "-U", "-r"}, 0},
		{"fewer capabilities", "", nil, []string{"setpriv", "--bounding-set", "-sys_time", "--inh-caps", "-all"}, 0},
		{"another user", "", nil, []string{"setpriv", "--reuid", "65534", "--clear-groups"}, 0},
		{"relative CNI_PATH", "", []string{"CNI_COMMAND=ADD", "CNI_PATH=bin"}, nil, 1},
		{"relative CNI_NETNS", "", []string{"CNI_COMMAND=ADD", "CNI_NETNS=run/netns/c1"}, nil, 1},
		{"its own namespace by procfs", "", []string{"CNI_COMMAND=ADD", "CNI_NETNS=/proc/self/ns/net"}, nil, 1},
		{"another bus", "", []string{"CNI_COMMAND=ADD", "DBUS_SYSTEM_BUS_ADDRESS=unix:path=/nowhere"}, nil, 1},
	} {
		args := append(test.before, plugin)
		cmd := exec.Command(args[0], args[1:]...)
		cmd.Env = append(os.Environ(), append([]string{"CNI_COMMAND=VERSION", "CNI_CONTAINERID=c1", "CNI_IFNAME=eth0", "CNI_NETNS=/run/netns/c1", "CNI_PATH=" + oursDir()},
			test.env...)...)
		cmd.Stdin = strings.NewReader(`{"cniVersion":"1.1.0"}`)
		var out strings.Builder
		cmd.Stdout, cmd.Stderr = &out, &out
		if err := w.start(test.in, cmd); err != nil {
			t.Fatal(err)
		}
		_ = cmd.Wait()
		// An ADD without a name is refused, by whoever makes it.
		want := []string{"1.1.0", "missing network name"}[test.status]
		if status := cmd.ProcessState.ExitCode(); status != test.status || !strings.Contains(out.String(), want) {
			t.Errorf("%s: exit status %d, want %d: %s", test.name, status, test.status, out.String())
		}
		if calls := r.said(); len(calls) != 0 {
			t.Fatalf("%s: the resident made the calls %q", test.name, calls)
		}
	}
	// It would have made one that names nothing of that.
	if a, err := w.run(bridgeCall("VERSION", "c1")); err != nil || a.status != 0 {
		t.Fatal(err, a)
	}
	r.waitFor(t, 1)
}

// An IPAM plugin of a call that the resident makes has the caller's environment, working directory
// and standard error.
func TestResidentDelegatesAsItsCaller(t *testing.T) {
	dir := t.TempDir()
	w := newWorld(t, dir)
	r := w.reside()
	if err := w.netns("c1"); err != nil {
		t.Fatal(err)
	}
	plugins := filepath.Join(dir, "plugins")
	if err := os.Mkdir(plugins, 0o755); err != nil {
		t.Fatal(err)
	}
	script := "#!/bin/sh\necho \"$CNI_COMMAND $(pwd) $TRACEPARENT\" >&2\necho '{\"cniVersion\":\"1.1.0\",\"ips\":[{\"address\":\"10.8.1.2/24\",\"gateway\":\"10.8.1.1\"}]}'\n"
	if err := os.WriteFile(filepath.Join(plugins, "told"), []byte(script), 0o755); err != nil {
		t.Fatal(err)
	}
	c := call{verb: "ADD", container: "c1", ifName: "eth0", env: map[string]string{"CNI_PATH": plugins, "TRACEPARENT": "00-1-2-01", "PATH": os.Getenv("PATH")},
		conf: []byte(`{"cniVersion":"1.1.0","name":"told","type":"ptp","ipam":{"type":"told"}}`)}
	a, err := w.run(c)
	if err != nil || a.status != 0 {
		t.Fatalf("%v %d %s %s", err, a.status, a.stdout, a.stderr)
	}
	if want := "ADD " + dir + " 00-1-2-01\n"; string(a.stderr) != want {
		t.Errorf("the plugin said %q, want %q", a.stderr, want)
	}
	c.verb = "DEL"
	if a, err := w.run(c); err != nil || a.status != 0 {
		t.Fatalf("%v %d %s %s", err, a.status, a.stdout, a.stderr)
	}
	r.waitFor(t, 2)
	w.finish()
}

// slow is a world in whose ADD an IPAM plugin takes its time, and says when it has begun.
func slow(t *testing.T) (w *world, add *exec.Cmd, begun func(), c call) {
	t.Helper()
	dir := t.TempDir()
	w = newWorld(t, dir)
	if err := w.netns("c1"); err != nil {
		t.Fatal(err)
	}
	script := "#!/bin/sh\nif test $CNI_COMMAND = ADD; then echo $$ >" + dir + "/begun; exec sleep 1000; fi\n"
	if err := os.WriteFile(filepath.Join(dir, "slow"), []byte(script), 0o755); err != nil {
		t.Fatal(err)
	}
	c = call{verb: "ADD", container: "c1", ifName: "eth0", env: map[string]string{"CNI_PATH": dir, "PATH": os.Getenv("PATH")},
		conf: []byte(`{"cniVersion":"1.1.0","name":"slow","type":"bridge","bridge":"slow0","ipam":{"type":"slow"}}`)}
	add = exec.Command(filepath.Join(oursDir(), "bridge"))
	add.Env, add.Stdin = c.environment(), strings.NewReader(string(c.conf))
	return w, add, func() {
		for deadline := time.Now().Add(time.Minute); ; time.Sleep(time.Millisecond) {
			if b, err := os.ReadFile(dir + "/begun"); err == nil && len(b) > 0 {
				return
			}
			if time.Now().After(deadline) {
				t.Fatal("the IPAM plugin wasn't called")
			}
		}
	}, c
}

// The caller that is killed takes its call with it: the delegate ends, and nothing stays.
func TestResidentUndoesACallWhoseCallerIsKilled(t *testing.T) {
	w, add, begun, _ := slow(t)
	r := w.reside()
	if err := w.start("", add); err != nil {
		t.Fatal(err)
	}
	begun()
	_ = add.Process.Kill()
	_ = add.Wait()
	if calls := r.waitFor(t, 1); calls[0] != "bridge ADD false" {
		t.Errorf("calls %q", calls)
	}
	w.finish()
}

// The resident that is killed leaves its callers an error, and what the next DEL takes away.
func TestResidentThatDies(t *testing.T) {
	w, add, begun, c := slow(t)
	r := w.reside()
	var out strings.Builder
	add.Stdout = &out
	if err := w.start("", add); err != nil {
		t.Fatal(err)
	}
	begun()
	r.kill()
	err := add.Wait()
	var exit *exec.ExitError
	if !errors.As(err, &exit) || exit.ExitCode() != 1 {
		t.Errorf("the caller ended with %v, want exit status 1", err)
	}
	f, err := answer{stdout: []byte(out.String())}.failure()
	if err != nil || f.Code != 11 {
		t.Errorf("answered %q: %v", out.String(), err)
	}
	// Its socket is still there, and nobody listens.
	c.verb = "DEL"
	if a, err := w.run(c); err != nil || a.status != 0 {
		t.Errorf("%v %d %s", err, a.status, a.stdout)
	}
	w.finish()
}

// Another resident takes the socket over, and no call is lost, however many there are.
func TestResidentIsReplacedUnderLoad(t *testing.T) {
	w := newWorld(t, t.TempDir())
	old := w.reside()
	var wg sync.WaitGroup
	stop := make(chan struct{})
	for i := range 4 {
		name := fmt.Sprintf("c%d", i)
		if err := w.netns(name); err != nil {
			t.Fatal(err)
		}
		wg.Add(1)
		go func() {
			defer wg.Done()
			for {
				for _, verb := range []string{"ADD", "DEL"} {
					cmd := exec.Command(filepath.Join(oursDir(), "bridge"))
					c := bridgeCall(verb, name)
					c.plugins = oursDir()
					cmd.Env = c.environment()
					if a, err := w.capture(cmd, c.conf); err != nil || a.status != 0 {
						t.Errorf("%s %s: %v %d %s", verb, name, err, a.status, a.stdout)
						return
					}
				}
				select {
				case <-stop:
					return
				default:
				}
			}
		}()
	}
	old.waitFor(t, 8)
	next := w.reside()
	next.waitFor(t, 8)
	_ = old.cmd.Process.Signal(unix.SIGTERM)
	n := len(next.said())
	next.waitFor(t, n+8)
	close(stop)
	wg.Wait()
	w.stores = append(w.stores, "/run/leases")
	w.finish()
}

// A resident that is killed at any moment of a call leaves nothing that the next DEL doesn't take.
// The caller hears of it, or the call was over before.
func TestResidentKilledAtAnyMoment(t *testing.T) {
	w := newWorld(t, t.TempDir())
	conf := []byte(`{"cniVersion":"1.1.0","name":"killed","type":"bridge","bridge":"killed0","isGateway":true,"ipMasq":true,
		"ipam":{"type":"host-local","ranges":[[{"subnet":"10.8.0.0/24"}],[{"subnet":"fd00:8::/64"}]],"dataDir":"/run/leases"},
		"runtimeConfig":{"portMappings":[{"hostPort":8080,"containerPort":80,"protocol":"tcp"}]},
		"chain":[{"type":"portmap","snat":true,"capabilities":{"portMappings":true}},{"type":"firewall"}]}`)
	if err := w.netns("c1"); err != nil {
		t.Fatal(err)
	}
	// How long an undisturbed ADD takes, to choose moments from.
	r := w.reside()
	do := func(verb string) answer {
		t.Helper()
		a, err := w.run(call{verb: verb, container: "c1", ifName: "eth0", conf: conf})
		if err != nil {
			t.Fatal(err)
		}
		return a
	}
	took := time.Hour
	for range 3 {
		start := time.Now()
		if a := do("ADD"); a.status != 0 {
			t.Fatalf("%s", a.stdout)
		}
		took = min(took, time.Since(start)) // one that was held up would put most moments after the others' end
		if a := do("DEL"); a.status != 0 {
			t.Fatalf("%s", a.stdout)
		}
	}
	r.waitFor(t, 6)
	rounds, interrupted := 30, 0
	for i := range rounds {
		verb := []string{"ADD", "ADD", "DEL"}[i%3]
		if verb == "DEL" {
			if a := do("ADD"); a.status != 0 {
				t.Fatalf("%s", a.stdout)
			}
		}
		timer := time.AfterFunc(took*time.Duration(i)/time.Duration(rounds), r.kill)
		a := do(verb)
		if timer.Stop() {
			r.kill()
		}
		if a.status != 0 {
			// Between the answer and its status the resident has printed a result. The caller can't
			// know, and its error follows.
			said := answer{stdout: a.stdout[max(0, bytes.LastIndex(a.stdout, []byte("}{"))+1):]}
			if f, err := said.failure(); err != nil || f.Code != 11 {
				t.Fatalf("%s: %q, %v, want code 11", verb, a.stdout, err)
			}
			interrupted++
		}
		r = w.reside()
		if a := do("DEL"); a.status != 0 {
			t.Fatalf("DEL after %s: %s", verb, a.stdout)
		}
		if err := w.noTrace(); err != nil {
			t.Fatalf("after %s and DEL: %v", verb, err)
		}
	}
	if interrupted == 0 {
		t.Error("no call was interrupted")
	}
	t.Logf("%d of %d calls were interrupted", interrupted, rounds)
}
