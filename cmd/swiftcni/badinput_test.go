// SPDX-License-Identifier: Apache-2.0

package main

import (
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// A badInput is a call that must fail, and what it must say.
type badInput struct {
	name    string
	verb    string            // empty is ADD
	conf    string            // empty is good
	replace string            // "KEY=JSON" changes the good configuration
	env     map[string]string // beside the usual variables
	program string            // empty is bridge
	code    int
	msg     string // a part of msg or details
	key     string // named in msg or details

	ownWords bool // the reference says something else
}

// good is what the rows change. An attachment made with it must outlive them all.
const good = `{"cniVersion":"1.1.0","name":"net","type":"bridge","bridge":"br0","isGateway":true,"ipMasq":true,"macspoofchk":true,` +
	`"ipam":{"type":"host-local","subnet":"10.1.2.0/24","routes":[{"dst":"0.0.0.0/0"}]}}`

// TestBadInput: each row exits with 1 and prints one error object with the right code, and nothing
// on the host or in the containers changes.
func TestBadInput(t *testing.T) {
	t.Parallel()
	w := newWorld(t, t.TempDir())
	for _, name := range []string{"live", "c1"} {
		if err := w.netns(name); err != nil {
			t.Fatal(err)
		}
	}
	if a, err := w.run(call{verb: "ADD", container: "live", ifName: "eth0", conf: []byte(good)}); err != nil || a.status != 0 {
		t.Fatalf("%v: %s", err, a.stdout)
	}
	w.must("", "ip", "link", "add", "dummy0", "type", "veth", "peer", "name", "dummy1")
	before := w.snapshot()
	for _, row := range badInputs() {
		t.Run(row.name, func(t *testing.T) {
			a := row.call(t, w)
			row.verify(t, a)
			if after := w.snapshot(); after != before {
				t.Errorf("something changed:\n%s", difference(before, after))
				before = after
			}
		})
	}
	w.finish()
}

func (row *badInput) call(t *testing.T, w *world) answer { return row.callOf(t, w, oursDir()) }

// callOf makes the row's call of the plugins in a directory.
func (row *badInput) callOf(t *testing.T, w *world, plugins string) answer {
	conf := row.conf
	if conf == "" {
		conf = good
	}
	if row.replace != "" {
		key, value, _ := strings.Cut(row.replace, "=")
		text, err := withKey([]byte(conf), key, []byte(value))
		if err != nil {
			t.Fatal(err)
		}
		conf = string(text)
	}
	c := call{verb: row.verb, container: "c1", ifName: "eth0", plugins: plugins, env: row.env}
	if c.verb == "" {
		c.verb = "ADD"
	}
	program := row.program
	if program == "" {
		program = "bridge"
	}
	cmd := exec.Command(filepath.Join(plugins, program))
	cmd.Env = c.environment()
	a, err := w.capture(cmd, []byte(conf))
	if err != nil {
		t.Fatal(err)
	}
	return a
}

func (row *badInput) verify(t *testing.T, a answer) {
	f, err := a.failure()
	if a.status != 1 || err != nil {
		t.Fatalf("exit status %d, %v, stdout %q, stderr %q", a.status, err, a.stdout, a.stderr)
	}
	if f.Code != row.code {
		t.Errorf("code %d, want %d: %s", f.Code, row.code, a.stdout)
	}
	if !strings.Contains(f.Msg+"\n"+f.Details, row.msg) {
		t.Errorf("want %q in %s", row.msg, a.stdout)
	}
	if !strings.Contains(f.Msg+"\n"+f.Details, row.key) {
		t.Errorf("key %q isn't named in %s", row.key, a.stdout)
	}
	if len(a.stderr) > 0 {
		t.Errorf("stderr: %s", a.stderr)
	}
}

// volatile changes by itself: the bridge's timers, and routes of link-local addresses that come up
// late.
var volatile = regexp.MustCompile(`\w+_timer +\S+|(?m)^.*(fe80::|ff00::).*\n`)

// snapshot is all that a plugin could change.
func (w *world) snapshot() string {
	w.t.Helper()
	var b strings.Builder
	for _, name := range append([]string{""}, w.nets...) {
		b.WriteString(w.must(name, "ip", "-d", "link"))
		b.WriteString(w.must(name, "ip", "-o", "-4", "address") + w.must(name, "ip", "route", "show", "table", "all"))
		b.WriteString(w.must(name, "cat", "/proc/sys/net/ipv4/ip_forward", "/proc/sys/net/ipv6/conf/all/forwarding"))
	}
	b.WriteString(w.must("", "nft", "list", "ruleset"))
	err := w.do("", func() error {
		for _, dir := range []string{"/run", "/var/lib"} {
			if err := listTree(&b, dir); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		w.t.Fatal(err)
	}
	return volatile.ReplaceAllString(b.String(), "")
}

// listTree writes down names, kinds and contents below a directory.
func listTree(b *strings.Builder, dir string) error {
	return filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if strings.HasPrefix(d.Name(), "last_reserved_ip.") {
			// Where the search goes on is no state of anybody's, and host-local moves it on failure
			// as well.
			return nil
		}
		text := ""
		if d.Type().IsRegular() && !strings.HasPrefix(path, "/run/netns/") {
			content, err := os.ReadFile(path)
			if err != nil {
				return err
			}
			text = string(content)
		}
		fmt.Fprintf(b, "%s %s %q\n", path, d.Type(), text)
		return nil
	})
}
