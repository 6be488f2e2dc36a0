// SPDX-License-Identifier: Apache-2.0

// Package worlds_test drives the built plugin by the programs that its users have: real runtimes and clients,
// each in a host in a box. It needs root.
package worlds_test

import (
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/swiftcni/swiftcni/internal/box"
)

// cnitoolVersion is the release of libcni and its command-line client that's used: it speaks CNI 1.1.0.
const cnitoolVersion = "v1.3.1"

// network is what cnitool finds in its configuration directory.
const network = `{
  "cniVersion": "1.1.0",
  "name": "world",
  "plugins": [ {
    "type": "bridge", "bridge": "world0", "isDefaultGateway": true, "ipMasq": true,
    "ipam": { "type": "host-local", "ranges": [ [ { "subnet": "10.7.0.0/24" } ], [ { "subnet": "fd00:7::/64" } ] ],
      "dataDir": "/run/leases" }
  } ]
}`

func TestMain(m *testing.M) {
	box.Main()
	os.Exit(m.Run())
}

// A host is a box with the plugin under test and a client to call it with.
type host struct {
	*box.Box
	t       *testing.T
	client  string
	plugins string
	conf    string
}

// newHost starts a box with an outside, and two containers' namespaces, c1 and c2.
func newHost(t *testing.T) *host {
	t.Helper()
	h := &host{t: t, client: cnitool(t), plugins: plugins(t), conf: t.TempDir()}
	if err := os.WriteFile(filepath.Join(h.conf, "world.conflist"), []byte(network), 0o644); err != nil {
		t.Fatal(err)
	}
	var err error
	if h.Box, err = box.Start(box.Options{Outside: true}); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(h.Close)
	for _, name := range []string{"c1", "c2"} {
		if _, err := h.NewNetNS(name); err != nil {
			t.Fatal(err)
		}
	}
	return h
}

// cnitool returns the client's path. It's built once, into the repository's cache.
func cnitool(t *testing.T) string {
	t.Helper()
	dir, err := filepath.Abs("../../.cache/cnitool-" + cnitoolVersion)
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(dir, "cnitool")
	if _, err := os.Stat(path); err == nil {
		return path
	}
	cmd := exec.Command("go", "install", "github.com/containernetworking/cni/cnitool@"+cnitoolVersion)
	cmd.Env = append(os.Environ(), "GOBIN="+dir)
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%v: %v\n%s", cmd, err, out)
	}
	return path
}

// plugins builds swiftcni and returns a plugin directory with links to it.
func plugins(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	cmd := exec.Command("go", "build", "-o", dir, "./cmd/swiftcni")
	cmd.Dir = "../.."
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%v: %v\n%s", cmd, err, out)
	}
	for _, name := range []string{"bridge", "host-local"} {
		if err := os.Symlink("swiftcni", filepath.Join(dir, name)); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

// call runs cnitool for a container.
func (h *host) call(verb, container string) (string, error) {
	return h.Run("env", "NETCONFPATH="+h.conf, "CNI_PATH="+h.plugins, h.client, verb, "world", "/run/netns/"+container)
}

// must runs cnitool and returns what it printed; it may not fail.
func (h *host) must(verb, container string) string {
	h.t.Helper()
	out, err := h.call(verb, container)
	if err != nil {
		h.t.Fatalf("%s %s: %v\n%s", verb, container, err, out)
	}
	return out
}

// refused runs cnitool, which must fail, with an error that says why.
func (h *host) refused(verb, container, why string) {
	h.t.Helper()
	if out, err := h.call(verb, container); err == nil || !regexp.MustCompile("(?i)"+why).MatchString(err.Error()+out) {
		h.t.Errorf("%s %s: error %v, want one about %s", verb, container, err, why)
	}
}

// in runs a command in a container's namespace.
func (h *host) in(container, command string) (string, error) {
	return h.Run("ip", append([]string{"netns", "exec", container}, strings.Fields(command)...)...)
}

// reaches pings from a container.
func (h *host) reaches(container, address string) {
	h.t.Helper()
	if out, err := h.in(container, "busybox ping -c1 -W2 "+address); err != nil {
		h.t.Errorf("%s doesn't reach %s: %v\n%s", container, address, err, out)
	}
}

// names lists a directory of the box; one that isn't there is empty.
func (h *host) names(dir, pattern string) []string {
	h.t.Helper()
	out, err := h.Run("find", dir, "-mindepth", "1", "-name", pattern, "-printf", "%f\n")
	if err != nil && !strings.Contains(err.Error(), "No such file") {
		h.t.Fatal(err)
	}
	names := strings.Fields(out)
	slices.Sort(names)
	return names
}

// leases lists the addresses that are held, in order.
func (h *host) leases() []string {
	return append(h.names("/run/leases/world", "10.7.*"), h.names("/run/leases/world", "fd00:7:*")...)
}

// wantState compares leases and bridge ports with what's wanted. With no lease, nothing else may be left
// either: no element in the ruleset, and no result in libcni's cache.
func (h *host) wantState(when string, leases []string, ports int) {
	h.t.Helper()
	if got := h.leases(); !slices.Equal(got, leases) {
		h.t.Errorf("%s: leases %q, want %q", when, got, leases)
	}
	links, err := h.Run("ip", "-brief", "link", "show", "master", "world0")
	if err != nil || strings.Count(links, "\n") != ports {
		h.t.Errorf("%s: %v, want %d ports, not\n%s", when, err, ports, links)
	}
	if len(leases) > 0 {
		return
	}
	rules, err := h.Run("nft", "list", "ruleset")
	if err != nil || regexp.MustCompile(`(10\.7\.0\.|fd00:7::)[0-9a-f]+[^0-9a-f:/]`).MatchString(rules) {
		h.t.Errorf("%s: %v, want no element in\n%s", when, err, rules)
	}
	if cached := h.names("/var/lib/cni/results", "*"); len(cached) > 0 {
		h.t.Errorf("%s: libcni still knows %q", when, cached)
	}
}

func TestCnitoolAddCheckDel(t *testing.T) {
	h := newHost(t)
	h.must("status", "c1")
	var result struct {
		CNIVersion string
		Interfaces []struct{ Name, Mac, Sandbox string }
		IPs        []struct {
			Address, Gateway string
			Interface        int
		}
	}
	if err := json.Unmarshal([]byte(h.must("add", "c1")), &result); err != nil {
		t.Fatal(err)
	}
	if result.CNIVersion != "1.1.0" || len(result.Interfaces) != 3 || len(result.IPs) != 2 {
		t.Fatalf("result %+v", result)
	}
	if l := result.Interfaces[2]; l.Name != "eth0" || l.Sandbox != "/run/netns/c1" || l.Mac == "" {
		t.Errorf("the container's link is %+v", l)
	}
	for i, want := range []struct{ address, gateway string }{{"10.7.0.2/24", "10.7.0.1"}, {"fd00:7::2/64", "fd00:7::1"}} {
		if ip := result.IPs[i]; ip.Address != want.address || ip.Gateway != want.gateway || ip.Interface != 2 {
			t.Errorf("address %+v, want %v", ip, want)
		}
	}
	h.must("add", "c2")
	h.wantState("two attached", []string{"10.7.0.2", "10.7.0.3", "fd00:7::2", "fd00:7::3"}, 2)
	for _, address := range []string{"10.7.0.3", "10.7.0.1", box.RouterIPv4, "fd00:7::3", "fd00:7::1", box.RouterIPv6} {
		h.reaches("c1", address)
	}
	owner, err := h.Run("cat", "/run/leases/world/10.7.0.2")
	if err != nil || !regexp.MustCompile(`^cnitool-[0-9a-f]+\r\neth0$`).MatchString(owner) {
		t.Errorf("the lease holds %q, %v", owner, err)
	}
	h.refused("add", "c1", "eth0|already|exist")

	h.must("del", "c1")
	h.wantState("one detached", []string{"10.7.0.3", "fd00:7::3"}, 1)
	h.must("del", "c1")
	h.reaches("c2", box.RouterIPv4)
	if err := h.DeleteNetNS("c2"); err != nil {
		t.Fatal(err)
	}
	h.must("del", "c2")
	h.wantState("both detached", nil, 0)
}

func TestCnitoolCheckFindsWhatWasTakenAway(t *testing.T) {
	h := newHost(t)
	h.must("add", "c1")
	h.must("check", "c1")
	for _, harm := range []struct{ in, command, repair, why string }{
		{"c1", "ip address delete 10.7.0.2/24 dev eth0", "ip address add 10.7.0.2/24 dev eth0", "10.7.0.2"},
		{"c1", "ip route delete default", "ip route add default via 10.7.0.1", "route"},
	} {
		if _, err := h.in(harm.in, harm.command); err != nil {
			t.Fatal(err)
		}
		h.refused("check", "c1", harm.why)
		// An address takes its routes along.
		_, _ = h.in(harm.in, harm.repair)
		_, _ = h.in(harm.in, "ip route replace default via 10.7.0.1")
		h.must("check", "c1")
	}
	h.must("del", "c1")
	h.wantState("detached", nil, 0)
}

// cnitool names no attachment as valid, so its gc ends all of them, those of living containers too.
func TestCnitoolGCLeavesNothing(t *testing.T) {
	h := newHost(t)
	h.must("add", "c1")
	h.must("add", "c2")
	// Of c2, libcni remembers nothing, as after a lost DEL, and its container is gone: only the plugin can find it.
	if _, err := h.Run("find", "/var/lib/cni/results", "-type", "f", "-delete"); err != nil {
		t.Fatal(err)
	}
	if _, err := h.Run("ip", "netns", "del", "c2"); err != nil {
		t.Fatal(err)
	}
	h.must("del", "c1")
	// The kernel ends the namespace, and with it the link, in its own time.
	for deadline := time.Now().Add(10 * time.Second); time.Now().Before(deadline); time.Sleep(10 * time.Millisecond) {
		if links, err := h.Run("ip", "-brief", "link", "show", "master", "world0"); err == nil && strings.TrimSpace(links) == "" {
			break
		}
	}
	h.wantState("lost", []string{"10.7.0.3", "fd00:7::3"}, 0)
	h.must("gc", "c1")
	h.wantState("collected", nil, 0)
	h.must("gc", "c1")
	h.must("del", "c2")
	h.must("add", "c1")
	h.reaches("c1", box.RouterIPv4)
	h.must("del", "c1")
	h.wantState("detached", nil, 0)
}
