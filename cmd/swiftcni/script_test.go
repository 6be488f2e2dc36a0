// SPDX-License-Identifier: Apache-2.0

package main

import (
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/rogpeppe/go-internal/testscript"
)

// TestScript runs testdata/script/*.txtar, each in a world of its own. README.md there lists the
// commands.
func TestScript(t *testing.T) { runScripts(t, func(*world) {}) }

// Each script says the same if a resident makes the calls.
func TestScriptByResident(t *testing.T) {
	var residents []*residing
	var mu sync.Mutex
	t.Run("all", func(t *testing.T) {
		runScripts(t, func(w *world) {
			r := w.reside()
			mu.Lock()
			defer mu.Unlock()
			residents = append(residents, r)
		})
	})
	calls := 0
	for _, r := range residents {
		calls += len(r.said())
	}
	if calls < 100 {
		t.Errorf("residents made %d calls", calls)
	}
}

// runScripts runs scripts, each in a world that prepare has seen. Without names it runs all.
func runScripts(t *testing.T, prepare func(*world), names ...string) {
	t.Helper()
	const dir = "testdata/script"
	all := dir
	var files []string
	for _, name := range names {
		all, files = "", append(files, filepath.Join(dir, name+".txtar"))
	}
	testscript.Run(t, testscript.Params{
		Dir:   all,
		Files: files,
		Setup: func(env *testscript.Env) error {
			// Run's own documentation promises that this is a testing.TB.
			w := newWorld(env.T().(testing.TB), env.WorkDir)
			env.Values[worldKey{}] = w
			env.Setenv("OURS", oursDir())
			env.Setenv("REF", referenceDir())
			env.Setenv("FAKE", filepath.Join(env.WorkDir, "fake"))
			prepare(w)
			env.Defer(func() { w.finish() })
			return linkFakeIPAM(filepath.Join(env.WorkDir, "fake"))
		},
		Cmds: map[string]func(*testscript.TestScript, bool, []string){
			"netns":   positive(cmdNetns),
			"vanish":  positive(cmdVanish),
			"conf":    positive(cmdConf),
			"write":   positive(cmdWrite),
			"add":     verb("ADD"),
			"del":     verb("DEL"),
			"check":   verb("CHECK"),
			"gc":      verb("GC"),
			"status":  verb("STATUS"),
			"version": verb("VERSION"),
			"ref":     cmdRef,
			"in":      func(ts *testscript.TestScript, neg bool, args []string) { runIn(ts, neg, args[0], args[1:]) },
			"host":    func(ts *testscript.TestScript, neg bool, args []string) { runIn(ts, neg, "", args) },
			"reach":   cmdReach,
			"leaks":   positive(cmdLeaks),
			"nothing": positive(cmdNothing),
		},
		UpdateScripts:       *update,
		RequireExplicitExec: true,
		RequireUniqueNames:  true,
	})
}

type worldKey struct{}

func worldOf(ts *testscript.TestScript) *world { return ts.Value(worldKey{}).(*world) }

// linkFakeIPAM makes a plugin directory with the tests' IPAM plugin in it.
func linkFakeIPAM(dir string) error {
	self, err := os.Executable()
	if err != nil {
		return err
	}
	if err := os.Mkdir(dir, 0o755); err != nil {
		return err
	}
	return os.Symlink(self, filepath.Join(dir, "fake-ipam"))
}

// positive makes a command of a function; a script can't ask for its failure.
func positive(fn func(*world, *testscript.TestScript, []string) error) func(*testscript.TestScript, bool, []string) {
	return func(ts *testscript.TestScript, neg bool, args []string) {
		if neg {
			ts.Fatalf("unsupported: !")
		}
		ts.Check(fn(worldOf(ts), ts, args))
	}
}

func cmdNetns(w *world, ts *testscript.TestScript, args []string) error {
	for _, name := range args {
		if err := w.netns(name); err != nil {
			return err
		}
		ts.Setenv(name, netnsPath(name))
	}
	return nil
}

// vanish [-plain] NAME...
func cmdVanish(w *world, _ *testscript.TestScript, args []string) error {
	plain := args[0] == "-plain"
	if plain {
		args = args[1:]
	}
	for _, name := range args {
		if err := w.vanish(name, plain); err != nil {
			return err
		}
	}
	return nil
}

// conf OUT IN KEY=JSON...
func cmdConf(_ *world, ts *testscript.TestScript, args []string) error {
	text := []byte(ts.ReadFile(args[1]))
	for _, arg := range args[2:] {
		key, value, ok := strings.Cut(arg, "=")
		if !ok {
			return fmt.Errorf("expected KEY=JSON, got %q", arg)
		}
		var err error
		if text, err = withKey(text, key, []byte(value)); err != nil {
			return err
		}
	}
	return os.WriteFile(ts.MkAbs(args[0]), text, 0o644)
}

// write FILE TEXT: as the host, so that FILE may be below /run, /var/lib or /proc/sys/net. \r and
// \n are taken.
func cmdWrite(w *world, _ *testscript.TestScript, args []string) error {
	text := strings.NewReplacer(`\r`, "\r", `\n`, "\n").Replace(args[1])
	return w.do("", func() error { return os.WriteFile(args[0], []byte(text), 0o644) })
}

func verb(name string) func(*testscript.TestScript, bool, []string) {
	return func(ts *testscript.TestScript, neg bool, args []string) { runVerb(ts, neg, name, "", args) }
}

// ref VERB ...
func cmdRef(ts *testscript.TestScript, neg bool, args []string) {
	runVerb(ts, neg, strings.ToUpper(args[0]), referenceDir(), args[1:])
}

// runVerb calls a plugin and checks its exit status; what it printed is there for stdout, stderr
// and cmp.
func runVerb(ts *testscript.TestScript, neg bool, verb, plugins string, args []string) {
	c, err := parseCall(ts, call{verb: verb, plugins: plugins, env: map[string]string{}}, args)
	ts.Check(err)
	w := worldOf(ts)
	a, err := w.run(c)
	ts.Check(err)
	out := stable(a.stdout)
	if len(out) > 0 && out[len(out)-1] != '\n' {
		out = append(out, '\n')
	}
	fmt.Fprintf(ts.Stdout(), "%s", out)
	fmt.Fprintf(ts.Stderr(), "%s", a.stderr)
	switch {
	case !neg && a.status != 0:
		ts.Fatalf("exit status %d: %s%s", a.status, a.stdout, a.stderr)
	case neg && a.status != 1:
		ts.Fatalf("exit status %d, want 1: %s%s", a.status, a.stdout, a.stderr)
	case neg && plugins == "":
		_, err := a.failure()
		ts.Check(err)
	}
}

// parseCall reads the words after the verb: for ADD, DEL and CHECK a container and a link name;
// then a configuration, variables, and for GC the attachments that are valid.
func parseCall(ts *testscript.TestScript, c call, args []string) (call, error) {
	if len(args) > 0 && args[0] == "-bare" {
		c.bare, args = true, args[1:]
	}
	attachment := c.verb == "ADD" || c.verb == "DEL" || c.verb == "CHECK"
	if attachment {
		if len(args) < 3 {
			return c, fmt.Errorf("usage: %s CONTAINER IFNAME CONF [VAR=VALUE...]", strings.ToLower(c.verb))
		}
		c.container, c.ifName, args = args[0], args[1], args[2:]
	}
	if len(args) > 0 && !strings.Contains(args[0], "=") {
		c.conf, args = []byte(ts.ReadFile(args[0])), args[1:]
	}
	valid := []map[string]string{}
	for _, arg := range args {
		name, value, ok := strings.Cut(arg, "=")
		if id, ifName, pair := strings.Cut(arg, "/"); pair && !ok && c.verb == "GC" {
			valid = append(valid, map[string]string{"containerID": id, "ifname": ifName})
			continue
		}
		if !ok {
			return c, fmt.Errorf("expected VAR=VALUE, got %q", arg)
		}
		if name == "PROGRAM" {
			c.program = value
			continue
		}
		c.env[name] = value
	}
	if c.verb == "GC" && !c.bare {
		var err error
		c.conf, err = withKey(c.conf, "cni.dev/valid-attachments", toJSON(valid))
		return c, err
	}
	return c, nil
}

func runIn(ts *testscript.TestScript, neg bool, name string, args []string) {
	out, err := worldOf(ts).exec(name, args[0], args[1:]...)
	if out != "" && !strings.HasSuffix(out, "\n") {
		out += "\n" // a golden file ends with one
	}
	fmt.Fprint(ts.Stdout(), out)
	if (err != nil) != neg {
		ts.Fatalf("%v: %s", err, out)
	}
}

// reach FROM ADDRESS, where FROM is "host" or a container.
func cmdReach(ts *testscript.TestScript, neg bool, args []string) {
	to, err := netip.ParseAddr(args[1])
	ts.Check(err)
	from := args[0]
	if from == "host" {
		from = ""
	}
	seconds := int64(60)
	if neg {
		seconds = 1
	}
	if err := worldOf(ts).reach(from, to, seconds); (err != nil) != neg {
		ts.Fatalf("reach: %v", err)
	}
}

func cmdLeaks(w *world, _ *testscript.TestScript, args []string) error {
	for _, id := range args {
		if err := w.noTraceOf(id); err != nil {
			return err
		}
	}
	return nil
}

func cmdNothing(w *world, _ *testscript.TestScript, _ []string) error { return w.noTrace() }
