// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/swiftcni/swiftcni/cni"
	"github.com/swiftcni/swiftcni/internal/test/box"
	"golang.org/x/sys/unix"
)

var unmountRounds = flag.Int("unmounts", 25, "rounds of TestNothingIsHeldWhenAVerbReturns, of five verbs of each plugin")

// unmountRole is what a process in a box does for TestNothingIsHeldWhenAVerbReturns.
const unmountRole, unmountRoundsVar = "unmount", "SWIFTCNI_TEST_UNMOUNTS"

// TestNothingIsHeldWhenAVerbReturns unmounts, right after each verb and without MNT_DETACH, the
// container's namespace, the state directory and the caller's working directory, as runtimes do, on
// a host whose init reaps what a plugin leaves.
func TestNothingIsHeldWhenAVerbReturns(t *testing.T) {
	b, err := box.Start(box.Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer b.Close()
	cmd, err := b.Self(unmountRole)
	if err != nil {
		t.Fatal(err)
	}
	cmd.Env = append(cmd.Env, unmountRoundsVar+"="+strconv.Itoa(*unmountRounds))
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	t.Logf("%s", out)
}

// A subject is a list of plugins, as a runtime calls them.
type subject struct {
	name  string
	confs []string // of each plugin, without name and version
	adder string   // the plugins that ADD is left to; "" is ours
}

const (
	unmountIPAM = `"ipam": {"type": "host-local", "subnet": "10.77.0.0/24", "routes": [{"dst": "0.0.0.0/0"}], "dataDir": "/run/data"}`
	unmountMeta = `{"type": "portmap", "runtimeConfig": {"portMappings": [{"hostPort": 8080, "containerPort": 80, "protocol": "tcp"}]}};` +
		`{"type": "firewall"};{"type": "tuning", "mtu": 1400, "dataDir": "/run/data", "sysctl": {"net.core.somaxconn": "99"}};` +
		`{"type": "bandwidth", "ingressRate": 8000000, "ingressBurst": 8000000, "egressRate": 8000000, "egressBurst": 8000000};{"type": "sbr"}`
)

func subjects() []subject {
	meta := strings.Split(unmountMeta, ";")
	return []subject{
		{name: "bridge", confs: []string{`{"type": "bridge", "bridge": "br0", "isGateway": true, "ipMasq": true, ` + unmountIPAM + `}`}},
		{name: "list", confs: append([]string{`{"type": "bridge", "bridge": "br1", "isGateway": true, "ipMasq": true, "macspoofchk": true, ` + unmountIPAM + `}`}, meta...)},
		{name: "chain", confs: []string{`{"type": "bridge", "bridge": "br2", "isGateway": true, "ipMasq": true, ` + unmountIPAM + `, "chain": [` + strings.Join(meta, ",") + `]}`}},
		{name: "ptp", confs: []string{`{"type": "ptp", "ipMasq": true, ` + unmountIPAM + `}`}},
		{name: "loopback", confs: []string{`{"type": "loopback"}`}},
		{name: "host-local", confs: []string{`{"type": "host-local", ` + unmountIPAM + `}`}},
		// Its link is known by its name in the container alone.
		{name: "reference", adder: referenceDir(), confs: []string{`{"type": "bridge", "bridge": "br3", "isGateway": true, ` + unmountIPAM + `}`}},
	}
}

// unmounting is one run of all verbs.
type unmounting struct {
	subject  subject
	inside   bool // the calls are made in this process
	result   string
	problems map[string]int
	verbs    int
	before   []string // files that were open
}

// Where things are in the box: the same trees are also mounted at keepNetNS and keepData, where
// nobody touches them.
const (
	unmountNetNS, keepNetNS   = "/run/netns/c1", "/run/keep-netns"
	unmountData, keepData     = "/run/data", "/run/keep-data"
	unmountBundle, keepBundle = "/run/bundle", "/run/keep-bundle"
)

// unmountMain runs in the box.
func unmountMain() {
	// The main thread can't end, so no goroutine may take it to another namespace.
	runtime.LockOSThread()
	rounds, err := strconv.Atoi(os.Getenv(unmountRoundsVar))
	if err == nil {
		err = prepareMounts()
	}
	if err != nil {
		fmt.Println(err)
		os.Exit(1)
	}
	failed := false
	for _, s := range subjects() {
		for _, inside := range []bool{false, true} {
			u := &unmounting{subject: s, inside: inside, problems: map[string]int{}}
			where := ""
			if inside {
				where = " in-process"
			}
			for range rounds {
				u.round()
			}
			fmt.Printf("%s%s: %d verbs\n", s.name, where, u.verbs)
			for _, p := range slices.Sorted(maps.Keys(u.problems)) {
				failed = true
				fmt.Printf("  %d times: %s\n", u.problems[p], p)
			}
		}
	}
	if failed {
		os.Exit(1)
	}
	os.Exit(0)
}

func prepareMounts() error {
	for _, dir := range []string{keepData, keepBundle, unmountData, unmountBundle} {
		if err := os.Mkdir(dir, 0o755); err != nil {
			return err
		}
	}
	for _, dir := range []string{keepData, keepBundle} {
		if err := unix.Mount("tmpfs", dir, "tmpfs", 0, ""); err != nil {
			return err
		}
	}
	for _, file := range []string{unmountNetNS, keepNetNS} {
		if err := os.WriteFile(file, nil, 0o644); err != nil {
			return err
		}
	}
	return nil
}

// bind shows what's kept in the place that plugins are told.
func bind(from, to string) error {
	return os.NewSyscallError("mount", unix.Mount(from, to, "", unix.MS_BIND, ""))
}

// round attaches a new container, checks it, and takes it away.
func (u *unmounting) round() {
	// Not by a thread of this process, which would end some time later.
	u.note("new namespace", exec.Command("unshare", "--net="+keepNetNS, "true").Run())
	u.before = slices.Collect(maps.Values(openFiles(os.Getpid())))
	u.result = ""
	for _, verb := range []string{"STATUS", "ADD", "CHECK", "GC", "DEL"} {
		confs := slices.Clone(u.subject.confs)
		if verb == "DEL" {
			slices.Reverse(confs)
		}
		for _, conf := range confs {
			u.verb(verb, conf)
		}
	}
	u.note("remove the namespace", unix.Unmount(keepNetNS, 0))
}

func (u *unmounting) note(what string, err error) {
	if err != nil {
		u.problems[what+": "+err.Error()]++
	}
}

// verb calls a plugin, and unmounts all that it could have open.
func (u *unmounting) verb(verb, conf string) {
	u.verbs++
	for from, to := range map[string]string{keepNetNS: unmountNetNS, keepData: unmountData, keepBundle: unmountBundle} {
		u.note("bind", bind(from, to))
	}
	var plugin struct{ Type string }
	u.note("configuration", json.Unmarshal([]byte(conf), &plugin))
	keys := `{"cniVersion": "1.1.0", "name": "` + u.subject.name + `", "cni.dev/valid-attachments": [{"containerID": "c1", "ifname": "eth0"}],`
	if u.result != "" && verb != "STATUS" && verb != "GC" {
		keys += `"prevResult": ` + u.result + `,`
	}
	var out, held string
	switch {
	case verb == "ADD" && u.subject.adder != "":
		out, held = callProcess(u.subject.adder, verb, plugin.Type, keys+conf[1:])
	case u.inside:
		out, held = callInside(verb, plugin.Type, keys+conf[1:])
	default:
		out, held = callProcess(oursDir(), verb, plugin.Type, keys+conf[1:])
	}
	for _, at := range []string{unmountNetNS, unmountData, unmountBundle} {
		u.note(verb+" "+plugin.Type+": unmount "+at, unix.Unmount(at, 0))
		_ = unix.Unmount(at, unix.MNT_DETACH)
	}
	for _, h := range append(u.holders(), held) {
		if h != "" {
			u.problems[verb+" "+plugin.Type+": "+h]++
		}
	}
	if verb == "ADD" {
		u.result = out
	}
}

// callProcess runs a plugin. held says what it left at a pipe that it inherited.
func callProcess(plugins, verb, plugin, conf string) (out, held string) {
	r, w, err := os.Pipe()
	if err != nil {
		return "", err.Error()
	}
	defer r.Close()
	cmd := exec.Command(filepath.Join(plugins, plugin))
	cmd.Dir, cmd.ExtraFiles, cmd.Stdin = unmountBundle, []*os.File{w}, strings.NewReader(conf)
	for name, value := range unmountEnvironment(verb, plugins) {
		cmd.Env = append(cmd.Env, name+"="+value)
	}
	text, err := cmd.CombinedOutput()
	w.Close()
	if err != nil {
		return "", fmt.Sprintf("%v: %s", err, text)
	}
	fd := int(r.Fd()) // which makes it blocking
	if err := unix.SetNonblock(fd, true); err != nil {
		return "", err.Error()
	}
	if _, err := unix.Read(fd, make([]byte, 1)); err != nil {
		held = "an inherited pipe is open"
	}
	return string(text), held
}

func callInside(verb, plugin, conf string) (out, held string) {
	env := unmountEnvironment(verb, oursDir())
	text, err := cni.Call(context.Background(), plugin, func(name string) string { return env[name] }, strings.NewReader(conf))
	if err != nil {
		held = err.Error()
	}
	return string(text), held
}

func unmountEnvironment(verb, plugins string) map[string]string {
	return map[string]string{"CNI_COMMAND": verb, "CNI_CONTAINERID": "c1", "CNI_IFNAME": "eth0", "CNI_NETNS": unmountNetNS, "CNI_PATH": plugins}
}

// holders says what a plugin's process holds, or this one more than before: only netlink sockets of
// the host are its business.
func (u *unmounting) holders() (list []string) {
	own, err := os.Readlink("/proc/thread-self/ns/net")
	u.note("namespace", err)
	entries, err := os.ReadDir("/proc")
	u.note("list processes", err)
	for _, e := range entries {
		pid, err := strconv.Atoi(e.Name())
		if err != nil || pid == 1 {
			continue
		}
		proc := "/proc/" + e.Name()
		exe, _ := os.Readlink(proc + "/exe")
		if !u.inside && !strings.HasPrefix(exe, oursDir()) || u.inside && pid != os.Getpid() {
			continue
		}
		for fd, file := range openFiles(pid) {
			if !slices.Contains(u.before, file) && !isHostNetlink(pid, fd, file) {
				list = append(list, "a process has "+strings.TrimRight(file, "0123456789[]"))
			}
		}
		if cwd, err := os.Readlink(proc + "/cwd"); err == nil && cwd != "/" && !u.inside {
			list = append(list, "a process works in "+cwd)
		}
		tasks, _ := filepath.Glob(proc + "/task/*/ns/net")
		for _, task := range tasks {
			if ns, err := os.Readlink(task); err == nil && ns != own {
				list = append(list, "a thread is in another network namespace")
			}
		}
	}
	return list
}

// openFiles says what a process has open, by descriptor. One that ends meanwhile has nothing.
func openFiles(pid int) map[int]string {
	files := map[int]string{}
	dir := fmt.Sprintf("/proc/%d/fd", pid)
	entries, _ := os.ReadDir(dir)
	for _, e := range entries {
		fd, _ := strconv.Atoi(e.Name())
		if file, err := os.Readlink(filepath.Join(dir, e.Name())); err == nil && file != dir {
			files[fd] = file
		}
	}
	return files
}

// isHostNetlink tells whether a process's file is a netlink socket of this network namespace, or
// closed by now.
func isHostNetlink(pid, fd int, file string) bool {
	process, err := unix.PidfdOpen(pid, 0)
	if err != nil {
		return err == unix.ESRCH
	}
	defer unix.Close(process)
	own, err := unix.PidfdGetfd(process, fd, 0)
	if err != nil {
		return err == unix.EBADF || err == unix.ESRCH
	}
	defer unix.Close(own)
	if now, err := os.Readlink(fmt.Sprintf("/proc/self/fd/%d", own)); err == nil && now != file {
		return true // the descriptor is another's by now
	}
	if domain, err := unix.GetsockoptInt(own, unix.SOL_SOCKET, unix.SO_DOMAIN); err != nil || domain != unix.AF_NETLINK {
		return false
	}
	ns, err := unix.IoctlRetInt(own, unix.SIOCGSKNS)
	if err != nil {
		return false
	}
	defer unix.Close(ns)
	var its, mine unix.Stat_t
	return unix.Fstat(ns, &its) == nil && unix.Stat("/proc/thread-self/ns/net", &mine) == nil && its.Ino == mine.Ino
}
