// SPDX-License-Identifier: Apache-2.0

// Package worlds_test drives the built plugins by the programs that their users have: real runtimes
// and clients, each in a host in a box. It needs root.
package worlds_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/swiftcni/swiftcni/cni"
	"github.com/swiftcni/swiftcni/internal/test/box"
	"github.com/swiftcni/swiftcni/internal/tool/build"
)

// repository is the module's directory, where its cache is.
const repository = "../../.."

func TestMain(m *testing.M) {
	box.Main()
	dir, err := os.MkdirTemp("", "swiftcni-worlds-")
	if err == nil {
		err = install(dir)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	swiftctl, swiftcni = filepath.Join(dir, "swiftctl"), filepath.Join(dir, "plugins")
	code := m.Run()
	os.RemoveAll(dir)
	os.Exit(code)
}

// swiftctl is the tool, and swiftcni a plugin directory as it installs it.
var swiftctl, swiftcni string

func install(dir string) error {
	tool := filepath.Join(dir, "swiftctl")
	return errors.Join(
		build.Release(io.Discard, repository, filepath.Join(dir, "swiftcni"), "./cmd/swiftcni"),
		build.Swiftctl(io.Discard, repository, tool),
		build.Run(io.Discard, dir, nil, tool, "install", filepath.Join(dir, "plugins")))
}

// A host is a box with an outside, where plugins are looked for in /opt/cni/bin and networks in
// /etc/cni/net.d.
type host struct {
	*box.Box
	t       *testing.T
	scratch string // a directory of the machine that the box sees too
	theirs  bool   // other plugins than ours have been used
}

// newHost starts a host that has swiftcni as its plugins.
func newHost(t *testing.T) *host {
	t.Helper()
	h := &host{t: t, scratch: t.TempDir()}
	var err error
	if h.Box, err = box.Start(box.Options{Outside: true}); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(h.Close)
	h.do("mkdir", "-p", "/etc/cni/net.d")
	h.use(swiftcni)
	return h
}

// use replaces the whole plugin directory.
func (h *host) use(plugins string) {
	h.t.Helper()
	h.theirs = h.theirs || strings.HasPrefix(filepath.Base(plugins), referencePrefix)
	h.do("ln", "-sfnT", plugins, "/opt/cni/bin")
}

// begin starts a container, which may not fail. But the reference's plugins give addresses of IPv6 five seconds, which
// aren't always enough (see wantPage). Then it's forgotten and started again, as many runtimes do by themselves.
func (h *host) begin(start func() error, forget func() error) {
	h.t.Helper()
	err := start()
	for deadline := time.Now().Add(hang); err != nil && h.theirs && time.Now().Before(deadline); {
		if !strings.Contains(err.Error(), "still has tentative addresses") {
			break
		}
		if err = forget(); err == nil {
			err = start()
		}
	}
	if err != nil {
		h.t.Fatal(err)
	}
}

// do runs a command that may not fail, and returns what it printed, without white space around it.
func (h *host) do(name string, args ...string) string {
	h.t.Helper()
	out, err := h.Run(name, args...)
	if err != nil {
		h.t.Fatalf("%v\n%s", err, out)
	}
	return strings.TrimSpace(out)
}

// detached is a script for programs that start containers. They keep its streams open as long as
// they live, so nobody may wait for the end of these. Its errors go through a file.
const detached = `"$@" </dev/null >/dev/null 2>"$0" || { cat "$0" >&2; exit 1; }`

// write makes a file in the box.
func (h *host) write(path, text string) {
	h.t.Helper()
	if err := os.WriteFile(fmt.Sprintf("/proc/%d/root%s", h.PID(), path), []byte(text), 0o644); err != nil {
		h.t.Fatal(err)
	}
}

// names lists the files below a directory of the box; one that isn't there is empty.
func (h *host) names(dir, pattern string) []string {
	h.t.Helper()
	out, err := h.Run("find", dir, "-mindepth", "1", "-not", "-type", "d", "-name", pattern, "-printf", "%f\n")
	if err != nil && !strings.Contains(err.Error(), "No such file") {
		h.t.Fatal(err)
	}
	names := strings.Fields(out)
	slices.Sort(names)
	return names
}

// leases lists the addresses that host-local's files hold, in order.
func (h *host) leases() []string {
	return slices.DeleteFunc(h.names("/var/lib/cni/networks", "*"), func(name string) bool {
		return !regexp.MustCompile(`^[0-9a-f]+[.:][0-9a-f.:]+$`).MatchString(name)
	})
}

// ports lists the links of the host that are attachments' ends.
func (h *host) ports() []string {
	h.t.Helper()
	var list []string
	for line := range strings.Lines(h.do("ip", "-brief", "link", "show", "type", "veth")) {
		if name, _, _ := strings.Cut(line, "@"); name != "outside" && name != wireLink && strings.TrimSpace(line) != "" {
			list = append(list, name)
		}
	}
	return list
}

// wantOurs wants each attachment's link to be one that swiftcni made, which alone writes an alias:
// a test by which another plugin was found would say nothing of ours.
func (h *host) wantOurs(when string) {
	h.t.Helper()
	var list []struct{ IfName, IfAlias string }
	if err := json.Unmarshal([]byte(h.do("ip", "-json", "link", "show", "type", "veth")), &list); err != nil {
		h.t.Fatal(err)
	}
	for _, port := range h.ports() {
		for _, l := range list {
			if l.IfName == port && strings.Count(l.IfAlias, "/") != 2 {
				h.t.Errorf("%s: the link %s, with the alias %q, was made by another plugin than swiftcni", when, port, l.IfAlias)
			}
		}
	}
}

// wantAttached compares leases with what's wanted, and the number of links with that of
// attachments, which must be ours.
func (h *host) wantAttached(when string, attachments int, leases ...string) {
	h.t.Helper()
	h.wantOurs(when)
	if got := h.leases(); !slices.Equal(got, leases) {
		h.t.Errorf("%s: leases %q, want %q", when, got, leases)
	}
	if got := h.ports(); len(got) != attachments {
		h.t.Errorf("%s: links %q, want %d", when, got, attachments)
	}
}

// wantNothing looks for all that an attachment could leave.
func (h *host) wantNothing(when string) {
	h.t.Helper()
	h.wantAttached(when, 0)
	rules := h.do("nft", "list", "table", "inet", "swiftcni")
	for _, elements := range regexp.MustCompile(`elements = \{([^}]*)\}`).FindAllStringSubmatch(rules, -1) {
		for element := range strings.SplitSeq(elements[1], ",") {
			// A network's policy for its bridge belongs to no attachment.
			if !strings.Contains(element, `/-/-"`) {
				h.t.Errorf("%s: the element %s is left in\n%s", when, element, rules)
			}
		}
	}
	for dir, what := range map[string]string{
		"/var/lib/cni/results": "cached results", "/run/cni": "saved settings", "/var/lib/cni/networks/.swiftcni": "records",
	} {
		left := slices.DeleteFunc(h.names(dir, "*"), func(name string) bool { return strings.HasPrefix(name, "@boot.") })
		if len(left) > 0 {
			h.t.Errorf("%s: %s are left: %q", when, what, left)
		}
	}
}

// wantNoRule looks through the whole ruleset for what a container left in it, of any program.
func (h *host) wantNoRule(when string, traces ...string) {
	h.t.Helper()
	rules := counters.ReplaceAllString(h.do("nft", "list", "ruleset"), "")
	for _, trace := range traces {
		// Not in the middle of a pod's identifier, which can have any digits.
		if regexp.MustCompile(`(^|[^0-9a-z])` + regexp.QuoteMeta(trace)).MatchString(rules) {
			h.t.Errorf("%s: %s is left in\n%s", when, trace, rules)
		}
	}
}

// counters are what a rule has seen: any number.
var counters = regexp.MustCompile(`counter packets \d+ bytes \d+`)

// A place is where something is tried from: a namespace's name, as in ip-netns(8), or the host
// itself.
const (
	theHost    = ""
	theOutside = "out"
)

func (h *host) from(place, name string, args ...string) (string, error) {
	if place != theHost {
		name, args = "ip", append([]string{"netns", "exec", place, name}, args...)
	}
	return h.Run(name, args...)
}

// get asks a web server, for so many seconds at most.
func (h *host) get(seconds, from, address, port string) (string, error) {
	const ask = `printf 'GET / HTTP/1.0\r\n\r\n' | timeout "$0" busybox nc "$1" "$2"`
	out, err := h.from(from, "sh", "-c", ask, seconds, address, port)
	return strings.TrimSpace(out), err
}

// wantPage fetches the page that containers serve. A server that has just been started may not
// listen yet. On a busy machine an address of IPv6 may not be in use for a minute and more, and whoever
// asks for it gets no answer: those of all namespaces wait in one queue of the kernel's, and the queue waits
// for whoever changes links (addrconf_dad_work, net/ipv6/addrconf.c).
func (h *host) wantPage(from, address, port string) {
	h.t.Helper()
	var got string
	var err error
	for deadline := time.Now().Add(hang); time.Now().Before(deadline); time.Sleep(20 * time.Millisecond) {
		if got, err = h.get("60", from, address, port); err == nil {
			break
		}
	}
	if err != nil || !strings.HasSuffix(got, page) {
		h.t.Errorf("port %s of %s from %q: %q, %v; want %q", port, address, from, got, err, page)
	}
}

// wantNoPage tries a port that no container must serve.
func (h *host) wantNoPage(from, address, port string) {
	h.t.Helper()
	if got, err := h.get("1", from, address, port); err == nil || got != "" {
		h.t.Errorf("port %s of %s from %q: %q, %v; want nothing", port, address, from, got, err)
	}
}

// daemon starts a program that stays, and whose log is shown if the test fails. The returned
// function ends the host.
func (h *host) daemon(name string, args ...string) (end func()) {
	h.t.Helper()
	log, err := os.CreateTemp(h.scratch, "log-")
	if err != nil {
		h.t.Fatal(err)
	}
	defer log.Close()
	cmd := h.Command(name, args...)
	cmd.Stdout, cmd.Stderr = log, log
	if err := cmd.Start(); err != nil {
		h.t.Fatal(err)
	}
	return func() {
		if h.t.Failed() {
			text, _ := os.ReadFile(log.Name())
			h.t.Logf("%s %q says at last\n%s", name, args, lastLines(text, 40))
		}
		h.Close()
		_ = cmd.Wait() // always "killed"
	}
}

// lastLines cuts a log, so that what it was shown for stays in sight.
func lastLines(text []byte, n int) []byte {
	lines := bytes.SplitAfter(text, []byte("\n"))
	return bytes.Join(lines[max(0, len(lines)-n):], nil)
}

// record makes the plugins note their calls, and returns a function that tells them: verb, plugin,
// link, and whether a namespace was named.
func (h *host) record() (calls func() []string) {
	h.t.Helper()
	const script = "#!/bin/sh\necho \"$CNI_COMMAND ${0##*/} $CNI_IFNAME ${CNI_NETNS:+netns}\" >>/run/calls\nexec %s/${0##*/}\n"
	dir := h.t.TempDir()
	for _, name := range cni.PluginNames() {
		if err := os.WriteFile(filepath.Join(dir, name), fmt.Appendf(nil, script, swiftcni), 0o755); err != nil {
			h.t.Fatal(err)
		}
	}
	h.use(dir)
	return func() []string {
		lines := strings.Split(h.do("cat", "/run/calls"), "\n")
		for i := range lines {
			lines[i] = strings.TrimSpace(lines[i])
		}
		return lines
	}
}

// removeCgroups removes the parent that a runtime gave all cgroups of its containers, and that
// nobody removes. What's in use stays.
func removeCgroups(parent string) {
	found, _ := filepath.Glob("/sys/fs/cgroup/*/" + parent)
	for _, dir := range found {
		_ = exec.Command("find", dir, "-depth", "-type", "d", "-exec", "rmdir", "{}", ";").Run()
	}
}

// hang is longer than anything takes on a busy machine: a test that waits so long waits for what never happens.
const hang = 10 * time.Minute

// eventually waits for what happens in its own time.
func eventually(t *testing.T, what string, done func() bool) {
	t.Helper()
	for deadline := time.Now().Add(hang); !done(); time.Sleep(20 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("waited %v for %s", hang, what)
		}
	}
}
