// SPDX-License-Identifier: Apache-2.0

// Package libcnitest drives package inprocess by the real libcni.
package libcnitest

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/containernetworking/cni/libcni"
	"github.com/containernetworking/cni/pkg/invoke"
	"github.com/containernetworking/cni/pkg/types"
	"github.com/swiftcni/swiftcni/cni/inprocess"
	"github.com/swiftcni/swiftcni/internal/test/nstest"
	"golang.org/x/sys/unix"
)

var _ invoke.Exec = inprocess.New(nil)

const network = `{ "cniVersion": "1.1.0", "name": "NAME", "plugins": [
	{ "type": "bridge", "bridge": "BRIDGE", "isGateway": true, "ipMasq": true, "macspoofchk": true,
	  "ipam": { "type": "host-local", "subnet": "10.6.0.0/16", "dataDir": "/run/leases" } },
	{ "type": "portmap", "capabilities": { "portMappings": true } } ] }`

func listOf(t testing.TB, text string) *libcni.NetworkConfigList {
	t.Helper()
	list, err := libcni.ConfListFromBytes([]byte(text))
	if err != nil {
		t.Fatal(err)
	}
	return list
}

func networkOf(t testing.TB, name string) *libcni.NetworkConfigList {
	return listOf(t, strings.NewReplacer("NAME", name, "BRIDGE", name+"0").Replace(network))
}

func execute() *invoke.DefaultExec {
	return &invoke.DefaultExec{RawExec: &invoke.RawExec{Stderr: os.Stderr}}
}

// clientOf has no directory in which a plugin of ours could be found. The specification wants it to have some.
func clientOf(t testing.TB, dirs ...string) *libcni.CNIConfig {
	return libcni.NewCNIConfigWithCacheDir(dirs, t.TempDir(), inprocess.New(execute()))
}

// Many goroutines attach, check and detach at once. Afterwards there's nothing of it: no link, descriptor, child or
// namespace, and no thread that grows with the calls.
func TestConcurrentCallsLeaveNothing(t *testing.T) {
	trustInit(t)
	list := networkOf(t, "many")
	const workers, rounds = 8, 6
	paths := make([]string, workers)
	for i := range paths {
		paths[i] = nstest.New(t, fmt.Sprintf("w%d", i))
	}
	all := func(rounds int) {
		served := inprocess.New(execute())
		defer served.Close()
		client := libcni.NewCNIConfigWithCacheDir([]string{"/nowhere"}, t.TempDir(), served)
		var wg sync.WaitGroup
		for w := range workers {
			wg.Go(func() {
				for round := range rounds {
					if err := cycle(client, list, paths[w], w, round); err != nil {
						t.Errorf("worker %d: %v", w, err)
						return
					}
				}
			})
		}
		wg.Wait()
	}
	all(rounds) // the kernel keeps several threads of each worker at a time: how many is a matter of luck
	waitFor(t, "the first removals", func() bool { return links(t) == 0 })
	fds, threads := count(t, "/proc/self/fd"), count(t, "/proc/self/task")
	all(2 * rounds)
	waitFor(t, "descriptors", func() bool { return links(t) == 0 && count(t, "/proc/self/fd") <= fds })
	if got := count(t, "/proc/self/task"); got > threads+2*workers {
		t.Errorf("%d threads after %d calls, %d before", got, workers*2*rounds*3, threads)
	}
	// A child that shared memory would be waited for with __WALL alone.
	if pid, err := unix.Wait4(-1, nil, unix.WNOHANG|unix.WALL, nil); err != unix.ECHILD {
		t.Errorf("there's a child: %d, %v", pid, err)
	}
	leases, err := filepath.Glob("/run/leases/many/10.*")
	if err != nil || leases != nil {
		t.Errorf("leases are left: %v %v", leases, err)
	}
	for _, path := range paths {
		inode := nstest.Run(t, path, "readlink", "/proc/self/ns/net")
		if held(t, strings.TrimSpace(inode)) {
			t.Errorf("a descriptor holds the namespace %s", path)
		}
	}
}

// trustInit makes PID 1 look like one that reaps orphans, wherever the test runs: a plugin's process would leave a child.
func trustInit(t testing.TB) {
	t.Helper()
	file := filepath.Join(t.TempDir(), "comm")
	if err := os.WriteFile(file, []byte("systemd\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	if err := unix.Mount(file, "/proc/1/comm", "", unix.MS_BIND, ""); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = unix.Unmount("/proc/1/comm", unix.MNT_DETACH) })
}

func cycle(client *libcni.CNIConfig, list *libcni.NetworkConfigList, netns string, worker, round int) error {
	ctx := context.Background()
	rt := &libcni.RuntimeConf{ContainerID: fmt.Sprintf("c%d-%d", worker, round), NetNS: netns, IfName: "eth0",
		CapabilityArgs: map[string]any{"portMappings": []map[string]any{{"hostPort": 8000 + worker, "containerPort": 80, "protocol": "tcp"}}}}
	if _, err := client.AddNetworkList(ctx, list, rt); err != nil {
		return fmt.Errorf("ADD: %w", err)
	}
	if err := client.CheckNetworkList(ctx, list, rt); err != nil {
		return fmt.Errorf("CHECK: %w", err)
	}
	if err := client.DelNetworkList(ctx, list, rt); err != nil {
		return fmt.Errorf("DEL: %w", err)
	}
	return nil
}

// links counts the host ends.
func links(t *testing.T) int {
	return strings.Count(nstest.Run(t, "", "ip", "-o", "link", "show", "type", "veth"), "\n")
}

func count(t *testing.T, dir string) int {
	t.Helper()
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	return len(entries)
}

func held(t *testing.T, namespace string) bool {
	t.Helper()
	fds, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		t.Fatal(err)
	}
	for _, fd := range fds {
		if target, err := os.Readlink("/proc/self/fd/" + fd.Name()); err == nil && target == namespace {
			return true
		}
	}
	return false
}

// waitFor waits for what the kernel does after a DEL's answer.
func waitFor(t *testing.T, what string, done func() bool) {
	t.Helper()
	for deadline := time.Now().Add(time.Minute); !done(); time.Sleep(10 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatal("still waiting for ", what)
		}
	}
}

// libcni's callers look at the error's type and code.
func TestErrorsAreLibcnis(t *testing.T) {
	list := networkOf(t, "errors")
	_, err := clientOf(t, "/none").AddNetworkList(context.Background(), list, &libcni.RuntimeConf{ContainerID: "c1", NetNS: "/nowhere", IfName: "eth0"})
	var e *types.Error
	if !errors.As(err, &e) || e.Code == 0 || !strings.Contains(e.Msg, "/nowhere") {
		t.Errorf("error is %#v", err)
	}
}

// A plugin that isn't ours is executed, and so is an IPAM plugin: it's looked for where libcni says, not where this process would.
func TestOtherPluginsAreExecuted(t *testing.T) {
	dir, out := t.TempDir(), filepath.Join(t.TempDir(), "called")
	script := "#!/bin/sh\necho $CNI_COMMAND >>" + out + `
case $CNI_COMMAND in
VERSION) echo '{"cniVersion":"1.1.0","supportedVersions":["1.1.0"]}';;
ADD) echo '{"cniVersion":"1.1.0","ips":[{"address":"10.8.0.9/24"}]}';;
esac
`
	if err := os.WriteFile(filepath.Join(dir, "theirs"), []byte(script), 0o755); err != nil {
		t.Fatal(err)
	}
	t.Setenv("CNI_PATH", "/nowhere")
	client, ctx := clientOf(t, dir), context.Background()
	for _, plugin := range []string{`{"type": "theirs"}`, `{"type": "bridge", "bridge": "other0", "ipam": {"type": "theirs"}}`} {
		_ = os.Remove(out)
		list := listOf(t, `{"cniVersion": "1.1.0", "name": "other", "plugins": [`+plugin+`]}`)
		rt := &libcni.RuntimeConf{ContainerID: "c1", NetNS: nstest.New(t, "other"), IfName: "eth0"}
		if err := client.GetStatusNetworkList(ctx, list); err != nil {
			t.Error("STATUS: ", err)
		}
		if _, err := client.AddNetworkList(ctx, list, rt); err != nil {
			t.Error("ADD: ", err)
		}
		if err := client.DelNetworkList(ctx, list, rt); err != nil {
			t.Error("DEL: ", err)
		}
		if err := client.GCNetworkList(ctx, list, &libcni.GCArgs{}); err != nil {
			t.Error("GC: ", err)
		}
		text, err := os.ReadFile(out)
		if got := strings.Join(strings.Fields(strings.ReplaceAll(string(text), "VERSION\n", "")), " "); err != nil || got != "STATUS ADD DEL GC" {
			t.Errorf("%s: called %q, %v", plugin, got, err)
		}
	}
}

// A program may want less than all of ours.
func TestOnlyTheNamedAreServed(t *testing.T) {
	e := inprocess.New(execute(), "host-local")
	if _, err := e.FindInPath("bridge", []string{"/nowhere"}); err == nil {
		t.Error("bridge is served though only host-local was asked for")
	}
	if path, err := e.FindInPath("host-local", nil); err != nil || filepath.IsAbs(path) {
		t.Errorf("host-local is at %q, %v", path, err)
	}
}
