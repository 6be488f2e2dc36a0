// SPDX-License-Identifier: Apache-2.0

package attacks

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/swiftcni/swiftcni/internal/test/nstest"
)

// bound is how long any call may take: whatever an attacker puts in its way, nothing hangs.
const bound = time.Minute

// A host is a network namespace with a state directory of its own.
type host struct {
	*testing.T
	ns   string // path
	data string // dataDir
	keys map[string]any
}

// newHost makes a host with one network, mynet on 10.99.0.0/24, as the attacks need it.
func newHost(t *testing.T) *host {
	h := &host{T: t, ns: nstest.New(t, "host"), data: filepath.Join(t.TempDir(), "networks")}
	h.keys = map[string]any{
		"cniVersion": "1.0.0", "name": "mynet", "type": "bridge", "bridge": "br0", "isGateway": true, "ipMasq": true,
		"ipam": map[string]any{"type": "host-local", "subnet": "10.99.0.0/24", "dataDir": h.data},
	}
	nstest.Run(t, h.ns, "ip", "link", "set", "lo", "up")
	return h
}

// conf is the network's configuration, with other keys than usual.
func (h *host) conf(keys map[string]any) []byte {
	all := maps.Clone(h.keys)
	maps.Copy(all, keys)
	text, err := json.Marshal(all)
	if err != nil {
		h.Fatal(err)
	}
	return text
}

// A call is one run of the bridge plugin. What's empty is usual.
type call struct {
	verb, id, ifName, netns string
	conf                    []byte
	env                     []string // beside the usual
	wrap                    []string // a program to run it by
}

// An answer is what a run left behind.
type answer struct {
	status         int
	stdout, stderr string
	code           int // of the error object, if that's what it printed
	msg            string
}

func (a answer) String() string {
	return fmt.Sprintf("status %d: %s%s", a.status, a.stdout, a.stderr)
}

// run calls the plugin, which must end in time, and without a panic.
func (h *host) run(c call) answer {
	h.Helper()
	if c.ifName == "" {
		c.ifName = "eth0"
	}
	if c.conf == nil {
		c.conf = h.conf(nil)
	}
	env := append([]string{
		"CNI_COMMAND=" + c.verb, "CNI_CONTAINERID=" + c.id, "CNI_NETNS=" + c.netns, "CNI_IFNAME=" + c.ifName,
		"CNI_PATH=/nowhere", "PATH=" + os.Getenv("PATH"),
	}, c.env...)
	return h.program(env, c.conf, append(slices.Clone(c.wrap), program("bridge"))...)
}

// program runs a program on the host.
func (h *host) program(env []string, stdin []byte, args ...string) answer {
	h.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), bound)
	defer cancel()
	cmd := exec.CommandContext(ctx, "nsenter", append([]string{"--net=" + h.ns, "--"}, args...)...)
	var stdout, stderr bytes.Buffer
	cmd.Env, cmd.Stdin, cmd.Stdout, cmd.Stderr = env, bytes.NewReader(stdin), &stdout, &stderr
	cmd.WaitDelay = time.Second
	err := cmd.Run()
	if ctx.Err() != nil {
		h.Errorf("%v %v hangs", env[:min(2, len(env))], args)
	}
	if cmd.ProcessState == nil {
		h.Fatal(err)
	}
	a := answer{status: cmd.ProcessState.ExitCode(), stdout: stdout.String(), stderr: stderr.String()}
	if strings.Contains(a.stderr, "goroutine ") || a.status == 2 && strings.Contains(a.stderr, "panic") {
		h.Errorf("%v panics: %s", args, a.stderr)
	}
	var e struct {
		Code int
		Msg  string
	}
	if a.status != 0 && json.Unmarshal(stdout.Bytes(), &e) == nil {
		a.code, a.msg = e.Code, e.Msg
	}
	return a
}

// must wants a call to succeed.
func (h *host) must(c call) answer {
	h.Helper()
	a := h.run(c)
	if a.status != 0 {
		h.Errorf("%s %s: %s", c.verb, c.id, a)
	}
	return a
}

// refused wants a call to fail with an error object that has this code and says this.
func (h *host) refused(c call, code int, says string) {
	h.Helper()
	a := h.run(c)
	if a.status != 1 || a.code != code || !regexp.MustCompile(says).MatchString(a.msg) {
		h.Errorf("%s %.40s: %s\nwant code %d and %q", c.verb, c.id, a, code, says)
	}
}

// A container is one that's attached to the host.
type container struct {
	call
	h      *host
	result json.RawMessage
}

// attach makes a container and attaches it to the network that conf, or nil, says.
func (h *host) attach(id string, keys map[string]any) *container {
	h.Helper()
	c := &container{call{id: id, netns: nstest.New(h, "c"), conf: h.conf(keys)}, h, nil}
	c.verb = "ADD"
	a := h.run(c.call)
	if a.status != 0 {
		h.Fatalf("ADD %s: %s", id, a)
	}
	c.result = json.RawMessage(a.stdout)
	return c
}

// del detaches a container, which may have done anything, and wants nothing left of it.
func (c *container) del() {
	c.h.Helper()
	c.verb = "DEL"
	c.h.must(c.call)
	c.h.nothingOf(c.id)
}

// whole wants a container to be attached as it was, and to reach the gateway.
func (c *container) whole() {
	c.h.Helper()
	check := c.call
	check.verb, check.conf = "CHECK", c.withResult()
	c.h.must(check)
	c.reaches()
}

// withResult is the container's configuration as a runtime gives it to CHECK.
func (c *container) withResult() []byte {
	keys := map[string]any{}
	if err := json.Unmarshal(c.conf, &keys); err != nil {
		c.h.Fatal(err)
	}
	keys["prevResult"] = c.result
	return c.h.conf(keys)
}

func (c *container) reaches() {
	c.h.Helper()
	if out, err := nstest.Command(c.netns, "ping", "-c1", "-W60", c.gateway()).CombinedOutput(); err != nil {
		c.h.Errorf("%s doesn't reach its gateway: %s", c.id, out)
	}
}

// gateway is that of the container's network.
func (c *container) gateway() string { return c.field("gateway") }

// address is the container's, without its subnet's length.
func (c *container) address() string {
	addr, _, _ := strings.Cut(c.field("address"), "/")
	return addr
}

func (c *container) field(name string) string {
	var r struct{ IPs []map[string]any }
	if err := json.Unmarshal(c.result, &r); err != nil || len(r.IPs) == 0 {
		c.h.Fatalf("result %s: %v", c.result, err)
	}
	return fmt.Sprint(r.IPs[0][name])
}

// links are the host ends.
func (h *host) links() []string { return linksIn(h, h.ns, "type", "veth") }

// linksIn lists the links of a namespace, without ip(8)'s messages about namespaces that come and
// go.
func linksIn(t testing.TB, ns string, filter ...string) []string {
	return slices.DeleteFunc(lines(nstest.Run(t, ns, "ip", append([]string{"-o", "link", "show"}, filter...)...)),
		func(l string) bool { return l[0] < '0' || l[0] > '9' })
}

// elements are the lines of the ruleset that name an owner.
func (h *host) elements() (list []string) {
	for _, l := range lines(nstest.Run(h, h.ns, "nft", "list", "ruleset")) {
		if strings.Contains(l, `comment "`) {
			list = append(list, l)
		}
	}
	return list
}

// files lists all that's below a directory, with what it holds.
func files(t testing.TB, dir string) (list []string) {
	err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		info, err := d.Info()
		if err != nil {
			return err
		}
		line := path + " " + info.Mode().String()
		switch info.Mode().Type() {
		case fs.ModeSymlink:
			target, err := os.Readlink(path)
			list = append(list, line+" -> "+target)
			return err
		case 0:
			text := []byte("large")
			if info.Size() < 1<<20 {
				text, err = os.ReadFile(path)
			}
			line += fmt.Sprintf(" %d %q", info.Size(), text)
		}
		list = append(list, line)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return list
}

func (h *host) state() []string {
	if _, err := os.Lstat(h.data); err != nil {
		return nil
	}
	return files(h, h.data)
}

// nothingOf wants no trace of a container in links, ruleset and state.
func (h *host) nothingOf(id string) {
	h.Helper()
	word := regexp.MustCompile(`(^|[^A-Za-z0-9_.-])` + regexp.QuoteMeta(id) + `($|[^A-Za-z0-9_.-])`)
	for _, l := range slices.Concat(h.elements(), h.state()) {
		if word.MatchString(l) {
			h.Errorf("left of %s: %s", id, l)
		}
	}
}

// empty wants no attachment to be left on the host at all.
func (h *host) empty() {
	h.Helper()
	if left := slices.Concat(h.links(), h.elements()); left != nil {
		h.Errorf("left: %q", left)
	}
}

// unchanged runs fn, which must change neither links, ruleset nor state.
func (h *host) unchanged(fn func()) {
	h.Helper()
	look := func() []string {
		links := linkIdentity.FindAllString(nstest.Run(h, h.ns, "ip", "-o", "link"), -1)
		return slices.Concat(links, lines(nstest.Run(h, h.ns, "nft", "list", "ruleset")), h.state())
	}
	before := look()
	fn()
	if after := look(); !slices.Equal(before, after) {
		h.Errorf("changed:\n%s\nto\n%s", strings.Join(before, "\n"), strings.Join(after, "\n"))
	}
}

// linkIdentity finds index, name and MAC of a link, which no state that still settles is part of.
var linkIdentity = regexp.MustCompile(`(?m)^[0-9]+: [^:]+|link/ether [0-9a-f:]+`)

func lines(text string) (list []string) {
	for l := range strings.Lines(text) {
		list = append(list, strings.TrimSpace(l))
	}
	return list
}

func (h *host) check(errs ...error) {
	h.Helper()
	for _, err := range errs {
		if err != nil {
			h.Fatal(err)
		}
	}
}
