// SPDX-License-Identifier: Apache-2.0

package worlds_test

import (
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/swiftcni/swiftcni/internal/test/box"
	"github.com/swiftcni/swiftcni/internal/tool/build"
)

// A version is a build of the programs: a plugin directory, and the tool that is its resident.
type version struct{ name, plugins, swiftctl string }

// beforeTags is the commit that stands for the previous version until there is one with a tag. Builds before it know the chain
// of masquerade for ports by another name, so their CHECK and GC don't get along with today's rules.
const beforeTags = "2ebff55365fa"

// previous builds the version before this one, once, into the repository's cache.
func previous(t *testing.T) version {
	t.Helper()
	git := func(args ...string) (string, error) {
		out, err := exec.Command("git", append([]string{"-c", "safe.directory=*", "-C", repository}, args...)...).Output()
		return strings.TrimSpace(string(out)), err
	}
	name, err := git("describe", "--tags", "--abbrev=0", "--match", "v[0-9]*.[0-9]*.[0-9]*", "HEAD^")
	if err != nil {
		name = beforeTags
	}
	commit, err := git("rev-parse", "--verify", name+"^{commit}")
	if err != nil {
		t.Fatalf("the previous version, %s, isn't in this clone's history: git fetch --unshallow --tags: %v", name, err)
	}
	root, err := filepath.Abs(repository)
	if err != nil {
		t.Fatal(err)
	}
	dir := filepath.Join(root, ".cache/worlds/version-"+commit)
	v := version{name, filepath.Join(dir, "plugins"), filepath.Join(dir, "swiftctl")}
	if _, err := os.Stat(filepath.Join(v.plugins, "bridge")); err == nil {
		return v
	}
	source := filepath.Join(t.TempDir(), "source")
	for _, args := range [][]string{{"clone", "--quiet", "--shared", "--no-checkout", root, source}, {"-C", source, "checkout", "--quiet", commit}} {
		if err := build.Run(io.Discard, root, nil, "git", append([]string{"-c", "safe.directory=*"}, args...)...); err != nil {
			t.Fatal(err)
		}
	}
	if err := errors.Join(
		build.Release(io.Discard, source, filepath.Join(dir, "swiftcni"), "./cmd/swiftcni"),
		build.Swiftctl(io.Discard, source, v.swiftctl),
		build.Run(io.Discard, dir, nil, v.swiftctl, "install", "--force", v.plugins)); err != nil {
		t.Fatal(err)
	}
	return v
}

// versionedNetworks are lists whose state is of all kinds that there are: links, leases, elements of sets, queues, settings.
var versionedNetworks = map[string]string{
	"bridged": `
    { "type": "bridge", "bridge": "bridged0", "isDefaultGateway": true, "ipMasq": true, "hairpinMode": true,
      "ipam": { "type": "host-local", "ranges": [ [ { "subnet": "10.7.0.0/24" } ], [ { "subnet": "fd00:7::/64" } ] ] } },
    { "type": "portmap", "capabilities": { "portMappings": true } },
    { "type": "firewall" },
    { "type": "tuning", "mtu": 1400, "sysctl": { "net.ipv4.conf.IFNAME.log_martians": "1" } },
    { "type": "bandwidth", "ingressRate": 100000000, "ingressBurst": 1000000, "egressRate": 100000000, "egressBurst": 1000000 }`,
	"routed": `
    { "type": "ptp", "ipMasq": true,
      "ipam": { "type": "host-local", "ranges": [ [ { "subnet": "10.8.0.0/24" } ], [ { "subnet": "fd00:8::/64" } ] ], "routes": [ { "dst": "0.0.0.0/0" }, { "dst": "::/0" } ] } },
    { "type": "portmap", "capabilities": { "portMappings": true } },
    { "type": "firewall" }`,
	"direct": `
    { "type": "macvlan", "master": "outside",
      "ipam": { "type": "host-local", "ranges": [ [ { "subnet": "192.0.2.0/24", "rangeStart": "192.0.2.100" } ] ] } },
    { "type": "tuning", "mtu": 1400 }`,
}

// A versions is a host whose plugins are replaced under containers that run.
type versions struct {
	*host
	client string
}

// call runs libcni's client for a container, which has a namespace of its own on each network. Its port 80 is published there.
func (v *versions) call(verb, network, container string) error {
	ports := map[string]int{"bridged": 8000, "routed": 9000}
	out, err := v.Run("env", "NETCONFPATH=/etc/cni/net.d", "CNI_PATH=/opt/cni/bin",
		fmt.Sprintf(`CAP_ARGS={"portMappings":[{"hostPort":%d,"containerPort":80,"protocol":"tcp"}]}`, ports[network]+int(container[0])),
		v.client, verb, network, "/run/netns/"+network+"-"+container)
	if err != nil {
		return fmt.Errorf("%s %s %s: %w\n%s", verb, network, container, err, out)
	}
	return nil
}

// all runs it on each network.
func (v *versions) all(verb string, containers ...string) {
	v.t.Helper()
	for network := range versionedNetworks {
		for _, c := range containers {
			if err := v.call(verb, network, c); err != nil {
				v.t.Fatal(err)
			}
		}
	}
}

// add attaches containers that serve a page.
func (v *versions) add(containers ...string) {
	v.t.Helper()
	for network := range versionedNetworks {
		for _, c := range containers {
			if _, err := v.NewNetNS(network + "-" + c); err != nil {
				v.t.Fatal(err)
			}
		}
	}
	v.all("add", containers...)
	for network := range versionedNetworks {
		for _, c := range containers {
			if out, err := v.from(network+"-"+c, "busybox", "httpd", "-p", "80", "-h", v.scratch+"/rootfs/www"); err != nil {
				v.t.Fatalf("%v\n%s", err, out)
			}
		}
	}
}

// works wants all that the networks promise a container.
func (v *versions) works(container string) {
	v.t.Helper()
	v.all("check", container)
	for network := range versionedNetworks {
		eventually(v.t, container+" on "+network+" to reach the outside", func() bool {
			_, err := v.from(network+"-"+container, "busybox", "ping", "-c1", "-W10", box.RouterIPv4)
			return err == nil
		})
	}
	for _, base := range []int{8000, 9000} {
		port := fmt.Sprint(base + int(container[0]))
		v.wantPage(theOutside, box.BoxIPv4, port)
		v.wantPage(theOutside, box.BoxIPv6, port)
	}
}

// gone wants nothing of a container to be reached.
func (v *versions) gone(container string) {
	v.t.Helper()
	for _, base := range []int{8000, 9000} {
		v.wantNoPage(theOutside, box.BoxIPv4, fmt.Sprint(base+int(container[0])))
	}
}

// TestVersions replaces the plugins of the previous version by this one's under containers, and goes back, both ways around:
// each takes what the other left. A resident of either version beside them changes nothing.
func TestVersions(t *testing.T) {
	before, now := previous(t), version{"this", swiftcni, swiftctl}
	t.Logf("the previous version is %s", before.name)
	for _, way := range [][2]version{{before, now}, {now, before}} {
		for _, resident := range []version{{name: "none"}, before, now} {
			t.Run(fmt.Sprintf("from %s to %s, resident %s", way[0].name, way[1].name, resident.name), func(t *testing.T) {
				h := newHost(t)
				v := &versions{h, buildCnitool(t)}
				rootfs(t, filepath.Join(v.scratch, "rootfs"))
				for name, plugins := range versionedNetworks {
					v.write("/etc/cni/net.d/"+name+".conflist", fmt.Sprintf(`{ "cniVersion": "1.1.0", "name": %q, "plugins": [%s ] }`, name, plugins))
				}
				v.exchange(way[0], way[1], resident)
			})
		}
	}
}

// exchange has four containers live through the exchange of one version by another, and back.
func (v *versions) exchange(first, then, resident version) {
	v.use(first.plugins)
	v.add("a", "b")
	if resident.swiftctl != "" {
		r := v.resideBy(resident.swiftctl)
		defer func() { v.t.Logf("the resident made %v", r.made()) }()
	}

	v.use(then.plugins)
	v.works("a")
	v.add("c")
	v.works("c")
	v.all("del", "a")
	v.gone("a")
	v.works("b")

	v.use(first.plugins)
	v.works("c")
	v.add("d")
	v.all("del", "c")
	v.gone("c")
	v.works("b")

	v.use(then.plugins)
	v.all("del", "b")
	v.works("d")
	for network := range versionedNetworks { // cnitool names nobody as valid
		if err := v.call("gc", network, "d"); err != nil {
			v.t.Fatal(err)
		}
	}
	v.all("del", "d")
	v.gone("d")
	v.wantNothing("all are detached")
}
