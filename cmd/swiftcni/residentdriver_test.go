// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// The resident makes netavark's calls, and what they leave and print is what a process would.
func TestResidentDrives(t *testing.T) {
	w := newWorld(t, t.TempDir())
	r := w.reside()
	w.driverDay()
	calls := strings.Join(r.waitFor(t, 5), ", ")
	if want := "swiftcni create true, swiftcni setup true, swiftcni setup false, swiftcni teardown true, swiftcni teardown true"; calls != want {
		t.Errorf("the resident made the calls %s\nwant %s", calls, want)
	}
	w.finish()
}

// A driver's call that means something else to the resident, such as that of a podman without root, is
// made by its own process.
func TestResidentLeavesDriversOfOtherPlaces(t *testing.T) {
	w := newWorld(t, t.TempDir())
	r := w.reside()
	if err := w.netns("c1"); err != nil {
		t.Fatal(err)
	}
	network := w.drives(networkOf(`,"subnets":[{"subnet":"10.77.0.0/24"}]`), "create")
	r.waitFor(t, 1)
	input := callOf(network, "c1", `"network_options":{"interface_name":"eth0","static_ips":["10.77.0.9"]}`)
	for _, test := range []struct {
		name   string
		before []string // program that starts the plugin
		args   []string
		env    string
		says   string // "" succeeds
	}{
		{name: "a question about the program", args: []string{"info"}},
		{name: "podman without root", before: []string{"unshare", "-U", "-r", "-n", "-m"}, args: []string{"create"}, says: "end of JSON input"},
		{name: "another mount namespace", before: []string{"unshare", "-m"}, args: []string{"teardown", netnsPath("c1")}},
		{name: "another network namespace", before: []string{"unshare", "-n"}, args: []string{"teardown", netnsPath("c1")}},
		{name: "fewer capabilities", before: []string{"setpriv", "--bounding-set", "-sys_time", "--inh-caps", "-all"}, args: []string{"teardown", netnsPath("c1")}},
		{name: "its own namespace by procfs", args: []string{"setup", "/proc/self/ns/net"}, says: "has no network namespace of its own"},
		{name: "a relative namespace", args: []string{"setup", "run/netns/c1"}, says: "run/netns/c1"},
		{name: "no namespace", args: []string{"setup", ""}, says: "CNI_NETNS"},
		{name: "another bus", env: "DBUS_SYSTEM_BUS_ADDRESS=unix:path=/nowhere", args: []string{"teardown", netnsPath("c1")}},
	} {
		cmd := driverCommand(test.args...)
		cmd.Env = append(cmd.Env, test.env, "CNI_COMMAND=VERSION") // netavark's commands count
		if len(test.before) > 0 {
			wrapped := exec.Command(test.before[0], append(test.before[1:], cmd.Args...)...)
			wrapped.Env, cmd = cmd.Env, wrapped
		}
		text := input
		if test.args[0] == "create" {
			text = "{"
		}
		a, err := w.capture(cmd, []byte(text))
		if err != nil {
			t.Fatal(err)
		}
		var failed struct{ Error string }
		if test.says != "" {
			if err := json.Unmarshal(a.stdout, &failed); err != nil {
				t.Errorf("%s: %v", test.name, err)
			}
		}
		if (a.status == 0) != (test.says == "") || !strings.Contains(failed.Error, test.says) {
			t.Errorf("%s: status %d: %s%s, want %q", test.name, a.status, a.stdout, a.stderr, test.says)
		}
		if calls := r.said(); len(calls) != 1 {
			t.Fatalf("%s: the resident made the calls %q", test.name, calls[1:])
		}
	}
	w.drives(input, "teardown", netnsPath("c1"))
	r.waitFor(t, 2)
	w.finish()
}

// Podman tears down once. So the caller of a resident that dies repeats that itself. A setup may have
// begun, and says so in netavark's words.
func TestResidentDiesWhileItDrives(t *testing.T) {
	w := newWorld(t, t.TempDir())
	for _, name := range []string{"c0", "c1"} {
		if err := w.netns(name); err != nil {
			t.Fatal(err)
		}
	}
	network := w.drives(networkOf(`,"subnets":[{"subnet":"10.77.0.0/24"}],"options":{"ipam":"swiftcni"}`), "create")
	w.stores = append(w.stores, "/var/lib/cni/networks")
	input := func(container string) string {
		return callOf(network, container, `"network_options":{"interface_name":"eth0"}`)
	}
	w.drives(input("c0"), "setup", netnsPath("c0")) // the network's directory is there then
	for _, test := range []struct {
		name, verb, says string
		piped            bool
	}{
		{"setup", "setup", `{"error":"the resident process ended during the call; teardown takes back what the call may have done"}`, true},
		{"the input in a pipe", "teardown", "", true},
		{"the input in a file, whose position the resident has moved", "teardown", `{"error":"the resident process ended`, false},
	} {
		r := w.reside()
		if test.verb == "teardown" {
			w.drives(input("c1"), "setup", netnsPath("c1"))
		}
		a := w.killedAtLock(r, test.verb, input("c1"), test.piped)
		if (a.status == 0) != (test.says == "") || !strings.HasPrefix(string(a.stdout), test.says) || test.says == "" && len(a.stdout) > 0 {
			t.Errorf("%s: status %d: %s", test.name, a.status, a.stdout)
		}
		if test.says == "" {
			if err := w.noTraceOf("c1"); err != nil {
				t.Errorf("%s: %v", test.name, err)
			}
		}
		w.drives(input("c1"), "teardown", netnsPath("c1"))
		if err := w.noTraceOf("c1"); err != nil {
			t.Errorf("after teardown, %s: %v", test.name, err)
		}
	}
	w.drives(input("c0"), "teardown", netnsPath("c0"))
	w.finish()
}

// killedAtLock makes a call whose resident is killed while it waits for the lock of the network's
// leases.
func (w *world) killedAtLock(r *residing, verb, text string, piped bool) answer {
	w.t.Helper()
	held := w.holdShop()
	defer held.Close()
	cmd := driverCommand(verb, netnsPath("c1"))
	var out bytes.Buffer
	cmd.Stdout = &out
	if piped {
		cmd.Stdin = strings.NewReader(text)
	} else {
		file := filepath.Join(w.dir, "input")
		if err := os.WriteFile(file, []byte(text), 0o644); err != nil {
			w.t.Fatal(err)
		}
		f, err := os.Open(file)
		if err != nil {
			w.t.Fatal(err)
		}
		defer f.Close()
		cmd.Stdin = f
	}
	if err := w.start("", cmd); err != nil {
		w.t.Fatal(err)
	}
	if !waitsForShop(r.cmd.Process.Pid) {
		w.t.Fatalf("the resident doesn't wait for the lock; it has made the calls %q", r.said())
	}
	r.kill()
	held.Close()
	_ = cmd.Wait()
	return answer{stdout: out.Bytes(), status: cmd.ProcessState.ExitCode()}
}

// shopLock is the lock of the leases of the network shop.
const shopLock = "/var/lib/cni/networks/shop/lock"

// holdShop holds that lock until the file is closed.
func (w *world) holdShop() (held *os.File) {
	w.t.Helper()
	if err := w.do("", func() (err error) {
		if held, err = os.Open(shopLock); err != nil {
			return err
		}
		return unix.Flock(int(held.Fd()), unix.LOCK_EX)
	}); err != nil {
		w.t.Fatal(err)
	}
	return held
}

// waitsForShop waits until a process has the lock's file open, which it holds then or waits for.
func waitsForShop(pid int) bool {
	dir := fmt.Sprintf("/proc/%d/fd", pid)
	for deadline := time.Now().Add(time.Minute); time.Now().Before(deadline); time.Sleep(time.Millisecond) {
		list, _ := os.ReadDir(dir)
		if slices.ContainsFunc(list, func(fd os.DirEntry) bool {
			link, _ := os.Readlink(filepath.Join(dir, fd.Name()))
			return link == shopLock
		}) {
			return true
		}
	}
	return false
}
