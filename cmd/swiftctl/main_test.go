// SPDX-License-Identifier: Apache-2.0

package main

import (
	"errors"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"github.com/rogpeppe/go-internal/testscript"
	"github.com/swiftcni/swiftcni/cni"
	"github.com/swiftcni/swiftcni/internal/test/nstest"
	"golang.org/x/sys/unix"
)

var update = flag.Bool("update", false, "rewrite the scripts' golden files")

// programs are what the test binary is under other names: a script starts it again as swiftctl or
// as a plugin.
func programs() map[string]func() {
	list := map[string]func(){"swiftctl": main, binaryName: plugin}
	for _, name := range cni.PluginNames() {
		list[name] = plugin
	}
	return list
}

func plugin() {
	os.Exit(cni.Main(filepath.Base(os.Args[0]), os.Getenv, os.Stdin, os.Stdout, os.Stderr))
}

// TestMain enters namespaces of the tests' own, and there leaves the rest to testscript. A program
// that a script starts stays in the namespaces that it's started in.
func TestMain(m *testing.M) {
	if programs()[filepath.Base(os.Args[0])] != nil {
		testscript.Main(m, programs())
	}
	nstest.Main(scripted{m})
}

type scripted struct{ m *testing.M }

// Run doesn't return: testscript.Main exits.
func (s scripted) Run() int {
	testscript.Main(s.m, programs())
	return 2
}

func TestScripts(t *testing.T) {
	nstest.Full(t, "it takes long")
	swiftctl, err := exec.LookPath("swiftctl")
	if err != nil {
		t.Fatal(err)
	}
	testscript.Run(t, testscript.Params{
		Dir:                "testdata/script",
		UpdateScripts:      *update,
		RequireUniqueNames: true,
		Setup: func(env *testscript.Env) error {
			env.Setenv("SWIFTCTL", swiftctl)
			env.Setenv("SELF_PID", strconv.Itoa(os.Getpid()))
			env.Values[containersKey{}] = containers{}
			return nil
		},
		Cmds: map[string]func(*testscript.TestScript, bool, []string){
			"container": startContainer,
			"die":       endContainer,
			"state":     writeState,
			"status":    checkStatus,
			"readonly":  mountReadOnly,
		},
	})
}

// containers are a script's, by name.
type (
	containers    map[string]*exec.Cmd
	containersKey struct{}
)

func containersOf(ts *testscript.TestScript) containers {
	return ts.Value(containersKey{}).(containers)
}

// startContainer: container NAME starts a process in a network namespace of its own and sets
// $NAME_PID.
func startContainer(ts *testscript.TestScript, _ bool, args []string) {
	cmd := exec.Command("sleep", "1d")
	cmd.SysProcAttr = &syscall.SysProcAttr{Cloneflags: unix.CLONE_NEWNET, Pdeathsig: unix.SIGKILL}
	ts.Check(cmd.Start())
	containersOf(ts)[args[0]] = cmd
	ts.Setenv(args[0]+"_PID", strconv.Itoa(cmd.Process.Pid))
	ts.Defer(func() { endContainer(ts, false, args) })
}

// endContainer: die NAME ends it, and its namespace. Twice is fine.
func endContainer(ts *testscript.TestScript, _ bool, args []string) {
	if cmd := containersOf(ts)[args[0]]; cmd != nil {
		delete(containersOf(ts), args[0])
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
	}
}

// writeState: state STATUS ID PID BUNDLE writes state.json as a runtime would send it. "-" is no
// pid.
func writeState(ts *testscript.TestScript, _ bool, args []string) {
	if len(args) != 4 {
		ts.Fatalf("usage: state STATUS ID PID BUNDLE")
	}
	pid := `"pid": ` + args[2] + ","
	if args[2] == "-" {
		pid = ""
	}
	text := fmt.Sprintf(`{"ociVersion": "1.0.2", "status": %q, "id": %q, %s "bundle": %q}`, args[0], args[1], pid, args[3])
	ts.Check(os.WriteFile(ts.MkAbs("state.json"), []byte(text), 0o600))
}

// checkStatus: status N COMMAND... runs a command that must end with this status.
func checkStatus(ts *testscript.TestScript, _ bool, args []string) {
	want, err := strconv.Atoi(args[0])
	ts.Check(err)
	var exit *exec.ExitError
	got := 0
	if err := ts.Exec(args[1], args[2:]...); errors.As(err, &exit) {
		got = exit.ExitCode()
	} else if err != nil {
		ts.Fatalf("%v", err)
	}
	if got != want {
		ts.Fatalf("%s: exit status %d, want %d", strings.Join(args[1:], " "), got, want)
	}
}

// mountReadOnly: readonly DIR makes a directory read-only until the script ends.
func mountReadOnly(ts *testscript.TestScript, _ bool, args []string) {
	dir := ts.MkAbs(args[0])
	ts.Check(unix.Mount(dir, dir, "", unix.MS_BIND, ""))
	ts.Defer(func() { _ = unix.Unmount(dir, unix.MNT_DETACH) })
	ts.Check(unix.Mount("", dir, "", unix.MS_REMOUNT|unix.MS_BIND|unix.MS_RDONLY, ""))
}
