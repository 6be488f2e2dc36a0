// SPDX-License-Identifier: Apache-2.0

package box_test

import (
	"bufio"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/swiftcni/swiftcni/internal/test/box"
)

// victimVar makes the test binary a program that starts a box, says so, and waits for its end.
const victimVar = "SWIFTCNI_BOX_VICTIM"

func TestMain(m *testing.M) {
	box.Main()
	if os.Getenv(victimVar) != "" {
		b, err := box.Start(box.Options{Outside: true})
		if err != nil {
			fmt.Println(err)
			os.Exit(1)
		}
		fmt.Println(b.PID())
		select {}
	}
	if role := box.Role(); role != "" {
		host, err := os.Hostname()
		fmt.Println(role, host, err, "again", box.Role(), len(os.Args))
		os.Exit(0)
	}
	os.Exit(m.Run())
}

func start(t *testing.T, o box.Options) *box.Box {
	t.Helper()
	before := mounts(t)
	b, err := box.Start(o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		b.Close()
		b.Close()
		if after := mounts(t); after != before {
			t.Errorf("mounts before:\n%s\nafter:\n%s", before, after)
		}
	})
	return b
}

func mounts(t *testing.T) string {
	t.Helper()
	m, err := os.ReadFile("/proc/self/mountinfo")
	if err != nil {
		t.Fatal(err)
	}
	return string(m)
}

func run(t *testing.T, b *box.Box, name string, args ...string) string {
	t.Helper()
	out, err := b.Run(name, args...)
	if err != nil {
		t.Fatal(err)
	}
	return strings.TrimSpace(out)
}

// cniDirs are where a runtime looks for plugins and networks, and keeps what it knows of them:
// podman's five, by its containers.conf(5), which containerd, CRI-O and Debian's packages choose
// from.
var cniDirs = []string{"/var/lib/cni", "/etc/cni", "/usr/local/libexec/cni", "/usr/libexec/cni", "/usr/local/lib/cni", "/usr/lib/cni", "/opt/cni"}

func TestBoxIsAHostOfItsOwn(t *testing.T) {
	b := start(t, box.Options{Hostname: "n1"})
	for _, kind := range []string{"net", "mnt", "pid", "uts", "ipc"} {
		mine, err := os.Readlink("/proc/self/ns/" + kind)
		if err != nil {
			t.Fatal(err)
		}
		if its := run(t, b, "readlink", "/proc/self/ns/"+kind); its == mine {
			t.Errorf("%s namespace is shared: %s", kind, its)
		}
	}
	for _, c := range []struct{ want, command string }{
		{"n1", "hostname"},
		{"lo", "ls /sys/class/net"},
		{"box-n1", "cat /proc/1/cmdline"},
		{"0", "cat /proc/sys/net/ipv4/ip_forward"},
		{"", "ls " + strings.Join(cniDirs, " ") + " | grep -v -e : -e ^$ || true"},
		{"lock netns", "ls /run | xargs"},
		{"1", "ip -br link show up dev lo | wc -l"},
	} {
		if got := strings.TrimRight(run(t, b, "sh", "-c", c.command), "\x00"); got != c.want {
			t.Errorf("%s: %q, want %q", c.command, got, c.want)
		}
	}
	if cgroups := run(t, b, "ls", "/sys/fs/cgroup"); cgroups == "" {
		t.Error("no cgroups")
	}
}

func TestWhatABoxWritesStaysInIt(t *testing.T) {
	b := start(t, box.Options{})
	for _, dir := range append([]string{"/run"}, cniDirs...) {
		name := filepath.Join(dir, fmt.Sprintf("box-test-%d", os.Getpid()))
		run(t, b, "touch", name)
		if _, err := os.Lstat(name); !os.IsNotExist(err) {
			t.Errorf("%s outside: %v", name, err)
		}
		if _, err := os.Lstat(fmt.Sprintf("/proc/%d/root%s", b.PID(), name)); err != nil {
			t.Error(err)
		}
	}
}

func TestCommandKeepsTheDirectory(t *testing.T) {
	b := start(t, box.Options{})
	dir, err := filepath.EvalSymlinks(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	cmd := b.Command("pwd")
	cmd.Dir = dir
	out, err := cmd.Output()
	if err != nil {
		t.Fatal(err)
	}
	if got := strings.TrimSpace(string(out)); got != dir {
		t.Errorf("directory %q, want %q", got, dir)
	}
	here, err := os.Getwd()
	if err != nil {
		t.Fatal(err)
	}
	if got := run(t, b, "pwd"); got != here {
		t.Errorf("directory %q, want %q", got, here)
	}
}

func TestSelfIsTheProgramInItsRole(t *testing.T) {
	b := start(t, box.Options{Hostname: "elsewhere"})
	cmd, err := b.Self("visitor")
	if err != nil {
		t.Fatal(err)
	}
	out, err := cmd.Output()
	if want := "visitor elsewhere <nil> again  1\n"; string(out) != want || err != nil {
		t.Errorf("%q, %v; want %q", out, err, want)
	}
	if role := box.Role(); role != "" {
		t.Errorf("this process has the role %q", role)
	}
}

func TestRunTellsWhyACommandFailed(t *testing.T) {
	b := start(t, box.Options{})
	_, err := b.Run("sh", "-c", "echo no such thing >&2; exit 3")
	if err == nil || !strings.Contains(err.Error(), "no such thing") || !strings.Contains(err.Error(), "status 3") {
		t.Errorf("error %v", err)
	}
}

func TestOutsideAnswersTheBoxAndNobodyBehindIt(t *testing.T) {
	b := start(t, box.Options{Outside: true})
	for _, router := range []string{box.RouterIPv4, box.RouterIPv6} {
		if answer := knock(b, refused, router); answer != refused {
			t.Errorf("the box knocked at %s: %s", router, answer)
		}
	}
	pod, err := b.NewNetNS("pod")
	if err != nil {
		t.Fatal(err)
	}
	if pod != "/run/netns/pod" {
		t.Errorf("path %s", pod)
	}
	run(t, b, "sh", "-ec", `
		ip link add veth0 type veth peer name eth0 netns pod
		ip addr add 10.9.0.1/24 dev veth0; ip link set veth0 up; echo 1 >/proc/sys/net/ipv4/ip_forward
		ip -n pod addr add 10.9.0.2/24 dev eth0; ip -n pod link set eth0 up
		ip -n pod route add default via 10.9.0.1`)
	fromPod := []string{"ip", "netns", "exec", "pod"}
	if answer := knock(b, silence, box.RouterIPv4, fromPod...); answer != silence {
		t.Errorf("a container without masquerade knocked at the router: %s", answer)
	}
	run(t, b, "nft", "add table ip t; add chain ip t c { type nat hook postrouting priority 100; }; add rule ip t c masquerade")
	if answer := knock(b, refused, box.RouterIPv4, fromPod...); answer != refused {
		t.Errorf("a container with masquerade knocked at the router: %s", answer)
	}
	if err := b.DeleteNetNS("pod"); err != nil {
		t.Error(err)
	}
	if list := run(t, b, "ip", "netns", "list"); strings.Contains(list, "pod") {
		t.Errorf("namespaces left: %s", list)
	}
}

// The result of a knock at a port where nobody listens.
const (
	refused = "refused" // the packet arrived and its answer came back
	silence = "silence" // for a second
)

func knock(b *box.Box, expected, at string, by ...string) string {
	patience := "60"
	if expected == silence {
		patience = "1"
	}
	script := "exec 2>&1; timeout " + patience + " bash -c '</dev/tcp/" + at + "/9' && echo open"
	command := append(by, "sh", "-c", script)
	out, err := b.Run(command[0], command[1:]...)
	var exit *exec.ExitError
	switch {
	case strings.Contains(out, "Connection refused"):
		return refused
	case errors.As(err, &exit) && exit.ExitCode() == 124:
		return silence
	}
	return fmt.Sprintf("%s (%v)", out, err)
}

func TestOrphansAreReaped(t *testing.T) {
	b := start(t, box.Options{})
	run(t, b, "sh", "-c", "(setsid sh -c 'sleep 0.05' >/dev/null 2>&1 &) ; (true &) ; true")
	// Process 1's own children are what's left; a zombie would stay for ever.
	children := fmt.Sprintf("/proc/%d/task/%d/children", b.PID(), b.PID())
	waitFor(t, "children of PID 1 to be reaped", func() bool {
		left, err := os.ReadFile(children)
		if err != nil {
			t.Fatal(err)
		}
		return len(left) == 0
	})
}

func TestCloseEndsEveryProcess(t *testing.T) {
	b := start(t, box.Options{})
	cmd := b.Command("sh", "-c", "trap '' TERM INT HUP; echo; exec sleep 1000")
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	if _, err := bufio.NewReader(out).ReadString('\n'); err != nil {
		t.Fatal(err)
	}
	b.Close()
	if err := cmd.Wait(); err == nil {
		t.Error("the command outlived its box")
	}
	if _, err := b.Run("true"); err == nil {
		t.Error("a closed box runs commands")
	}
}

func TestBoxEndsWithItsProgram(t *testing.T) {
	for _, sig := range []syscall.Signal{syscall.SIGINT, syscall.SIGKILL} {
		t.Run(sig.String(), func(t *testing.T) {
			self, err := os.Executable()
			if err != nil {
				t.Fatal(err)
			}
			victim := exec.Command(self)
			victim.Env = append(os.Environ(), victimVar+"=1")
			out, err := victim.StdoutPipe()
			if err != nil {
				t.Fatal(err)
			}
			if err := victim.Start(); err != nil {
				t.Fatal(err)
			}
			line, err := bufio.NewReader(out).ReadString('\n')
			if err != nil {
				t.Fatal(err)
			}
			pid, err := strconv.Atoi(strings.TrimSpace(line))
			if err != nil {
				t.Fatal(err)
			}
			if err := victim.Process.Signal(sig); err != nil {
				t.Fatal(err)
			}
			_ = victim.Wait()
			// Its new parent may take its time to reap it, but a process that has ended has no file
			// tree.
			waitFor(t, "the box to end", func() bool {
				_, err := os.Stat(fmt.Sprintf("/proc/%d/root/proc", pid))
				return err != nil
			})
		})
	}
}

func waitFor(t *testing.T, what string, done func() bool) {
	t.Helper()
	for deadline := time.Now().Add(time.Minute); !done(); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("waited a minute for %s", what)
		}
	}
}
