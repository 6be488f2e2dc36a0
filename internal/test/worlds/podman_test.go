// SPDX-License-Identifier: Apache-2.0

package worlds_test

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/swiftcni/swiftcni/internal/test/box"
)

// A podman is a host with podman, whose networks are CNI's, and the image localhost/web, which
// serves page.
type podman struct {
	*host
	env []string // environment and program, as env(1) takes them
}

func newPodman(t *testing.T) *podman {
	t.Helper()
	h := newHost(t)
	dir := filepath.Join(h.scratch, "podman")
	files := map[string]string{
		"containers.conf": `
[engine]
cgroup_manager = "cgroupfs"
events_logger = "file"
runtime = "runc"
[network]
network_backend = "cni"
[containers]
log_driver = "k8s-file"
`,
		"storage.conf": fmt.Sprintf("[storage]\ndriver = \"overlay\"\ngraphroot = %q\nrunroot = \"/run/containers\"\n", dir+"/graph"),
	}
	if err := os.MkdirAll(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	for name, text := range files {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	p := &podman{h, []string{"CONTAINERS_CONF=" + dir + "/containers.conf", "CONTAINERS_STORAGE_CONF=" + dir + "/storage.conf", "podman"}}
	// The parent of all containers' cgroups is podman's to make and nobody's to remove. One that's
	// in use stays.
	t.Cleanup(func() {
		h.Close()
		removeCgroups("libpod_parent")
	})
	p.importWeb(filepath.Join(dir, "rootfs"))
	return p
}

// importWeb makes the image.
func (p *podman) importWeb(tree string) {
	p.t.Helper()
	rootfs(p.t, tree)
	p.do("sh", append([]string{"-c", `tar -C "$0" -c . | env "$@" import -q - localhost/web`, tree}, p.env...)...)
}

// podman runs it, and returns what it printed.
func (p *podman) podman(args ...string) string {
	p.t.Helper()
	return p.do("env", append(slices.Clone(p.env), args...)...)
}

// try runs a command that starts containers.
func (p *podman) try(args ...string) error {
	f, err := os.CreateTemp(p.scratch, "stderr-")
	if err != nil {
		return err
	}
	f.Close()
	args = append(append([]string{"-c", detached, f.Name(), "env"}, p.env...), args...)
	_, err = p.Run("sh", args...)
	return err
}

// web is the command that runs a container which serves the page at port 80.
func web(name string, args ...string) []string {
	args = append([]string{"run", "-d", "--name", name}, args...)
	return append(args, "localhost/web", "httpd", "-f", "-p", "80", "-h", "/www")
}

// run starts a container that serves the page at port 80.
func (p *podman) run(name string, args ...string) {
	p.t.Helper()
	p.begin(func() error { return p.try(web(name, args...)...) }, func() error { return p.rm(name) })
	if !p.theirs {
		p.wantOurs(name + " runs")
	}
}

func (p *podman) remove(names ...string) {
	p.t.Helper()
	p.podman(append([]string{"rm", "-f", "-t", "0"}, names...)...)
}

// createNetwork makes podman write a network of its own: bridge, portmap, firewall, tuning.
func (p *podman) createNetwork(name, subnet4, subnet6 string) {
	p.t.Helper()
	p.podman("network", "create", "--ipv6", "--subnet", subnet4, "--subnet", subnet6, name)
}

// wantPublished wants p1, the first container of the network front, to be reached by its port 8081
// from everywhere, and to reach everything.
func (p *podman) wantPublished() {
	p.t.Helper()
	p.wantPage(theOutside, box.BoxIPv4, "8081")
	p.wantPage(theOutside, box.BoxIPv6, "8081")
	p.wantPage(theHost, box.BoxIPv4, "8081")
	p.wantPage(theHost, "127.0.0.1", "8081")
	p.wantPage(theHost, "10.89.7.2", "80")
	for _, address := range []string{"10.89.7.1", "fd00:89:7::1", box.RouterIPv4, box.RouterIPv6} {
		p.reaches("p1", address)
	}
}

// wantNeighbour wants p2 to have the addresses that were asked for, and to reach p1. A published port
// is reached through the host's address by neighbours, and by the container itself.
func (p *podman) wantNeighbour() {
	p.t.Helper()
	if link := p.podman("exec", "p2", "ip", "address", "show", "eth0"); !strings.Contains(link, "02:00:5e:10:00:77") || !strings.Contains(link, "10.89.7.77/24") {
		p.t.Errorf("p2 has\n%s", link)
	}
	p.reaches("p2", "10.89.7.2")
	for _, name := range []string{"p1", "p2"} {
		if got := p.podman("exec", name, "sh", "-c", "printf 'GET / HTTP/1.0\\r\\n\\r\\n' | nc -w60 "+box.BoxIPv4+" 8081"); !strings.HasSuffix(got, page) {
			p.t.Errorf("%s got %q at the published port", name, got)
		}
	}
}

// A user replaces the plugin directory by swiftcni, and nothing else.
func TestPodman(t *testing.T) {
	p := newPodman(t)
	p.createNetwork("front", "10.89.7.0/24", "fd00:89:7::/64")

	p.run("p1", "--network", "front", "-p", "8081:80")
	p.wantAttached("p1 runs", 1, "10.89.7.2", "fd00:89:7::2")
	p.wantPublished()

	p.run("p2", "--network", "front", "--ip", "10.89.7.77", "--mac-address", "02:00:5e:10:00:77")
	p.wantAttached("p2 runs with a fixed address", 2, "10.89.7.2", "10.89.7.77", "fd00:89:7::2", "fd00:89:7::3")
	p.wantNeighbour()

	p.podman("restart", "-t", "0", "p1")
	p.wantPage(theOutside, box.BoxIPv4, "8081")
	p.run("p3", "--network", "front", "-p", "127.0.0.1:8083:80", "--runtime", "crun")
	p.wantPage(theHost, "127.0.0.1", "8083")
	p.wantNoPage(theOutside, box.BoxIPv4, "8083")

	p.remove("p1", "p2", "p3")
	p.wantNothing("all are removed")
	p.wantNoPage(theOutside, box.BoxIPv4, "8081")
	p.podman("network", "rm", "front")
}

// Debian's podman brings the reference's plugins, in a directory where it looks before
// /opt/cni/bin. `swiftctl install` puts ours before them, and those that we lack are still found.
func TestPodmanOfAPackageThatBringsPlugins(t *testing.T) {
	p := newPodman(t)
	p.do("rm", "/opt/cni/bin")
	p.do("sh", "-c", `cp "$0"/* /usr/lib/cni && touch /usr/lib/cni/macvlan && chmod +x /usr/lib/cni/macvlan`, reference(t))
	said := p.do(swiftctl, "install")
	for _, want := range []string{"/opt/cni/bin/bridge", "/usr/local/libexec/cni/portmap"} {
		if !strings.Contains(said, want) {
			t.Errorf("swiftctl install says\n%s", said)
		}
	}
	p.createNetwork("front", "10.89.7.0/24", "fd00:89:7::/64")
	p.run("p1", "--network", "front", "-p", "8081:80")
	p.wantAttached("p1 runs", 1, "10.89.7.2", "fd00:89:7::2")
	p.wantPage(theOutside, box.BoxIPv4, "8081")
	p.remove("p1")
	p.wantNothing("p1 is removed")
	if again := p.do(swiftctl, "install"); strings.Contains(again, "installed") || !strings.Contains(again, "/usr/local/libexec/cni") {
		t.Errorf("the second time swiftctl install says\n%s", again)
	}
}

// The kinds of bridge networks that podman makes: its default one, internal ones, isolated ones,
// one with an MTU.
func TestPodmanKindsOfNetworks(t *testing.T) {
	p := newPodman(t)
	p.run("default", "-p", "8081:80")
	p.wantPage(theOutside, box.BoxIPv4, "8081")

	p.podman("network", "create", "--internal", "--subnet", "10.89.7.0/24", "inside")
	p.run("i1", "--network", "inside")
	p.run("i2", "--network", "inside")
	p.reaches("i1", "10.89.7.3")
	p.wantSilence("i1", box.RouterIPv4)

	for i, name := range []string{"red", "blue"} {
		p.podman("network", "create", "--opt", "isolate=true", "--opt", "mtu=1400", "--subnet", fmt.Sprintf("10.89.%d.0/24", 8+i), name)
		p.run(name, "--network", name)
		p.reaches(name, box.RouterIPv4)
	}
	p.wantSilence("red", "10.89.9.2")
	p.wantSilence("blue", "10.89.8.2")
	if link := p.podman("exec", "red", "ip", "link", "show", "eth0"); !strings.Contains(link, "mtu 1400") {
		t.Errorf("red has\n%s", link)
	}
	p.remove("default", "i1", "i2", "red", "blue")
	p.wantNothing("all are removed")

	// Networks that aren't isolated get the same bridges' names.
	p.podman("network", "rm", "red", "blue")
	for i, name := range []string{"green", "teal"} {
		p.podman("network", "create", "--subnet", fmt.Sprintf("10.89.%d.0/24", 10+i), name)
		p.run(name, "--network", name)
	}
	p.reaches("green", "10.89.11.2")
	p.remove("green", "teal")
	p.wantNothing("all are removed")
}

// reaches pings until an answer comes. What wantPage says of IPv6 holds here, too.
func (p *podman) reaches(name, address string) {
	p.t.Helper()
	eventually(p.t, name+" to reach "+address, func() bool {
		_, err := p.Run("env", append(slices.Clone(p.env), "exec", name, "ping", "-c1", "-W10", address)...)
		return err == nil
	})
}

// wantSilence pings what a container must not reach.
func (p *podman) wantSilence(name, address string) {
	p.t.Helper()
	out, err := p.Run("env", append(slices.Clone(p.env), "exec", name, "ping", "-c1", "-W1", address)...)
	if err == nil || strings.Contains(out, "1 packets received") {
		p.t.Errorf("%s reaches %s: %v\n%s", name, address, err, out)
	}
}

func TestPodmanConnectsToASecondNetwork(t *testing.T) {
	p := newPodman(t)
	p.createNetwork("front", "10.89.7.0/24", "fd00:89:7::/64")
	p.createNetwork("back", "10.89.8.0/24", "fd00:89:8::/64")
	p.run("p1", "--network", "front")
	p.podman("network", "connect", "back", "p1")
	p.wantAttached("connected", 2, "10.89.7.2", "10.89.8.2", "fd00:89:7::2", "fd00:89:8::2")
	p.run("p2", "--network", "back")
	p.reaches("p2", "10.89.8.2")
	p.podman("network", "disconnect", "back", "p1")
	p.wantAttached("disconnected", 2, "10.89.7.2", "10.89.8.3", "fd00:89:7::2", "fd00:89:8::3")
	p.reaches("p1", box.RouterIPv4)
	p.remove("p1", "p2")
	p.wantNothing("all are removed")
}

// Whoever flushes the host's ruleset takes swiftcni's along; podman's remedy is a DEL and an ADD.
func TestPodmanReloadsAfterAFlush(t *testing.T) {
	p := newPodman(t)
	p.createNetwork("front", "10.89.7.0/24", "fd00:89:7::/64")
	p.run("p1", "--network", "front", "-p", "8081:80")
	p.do("nft", "flush", "ruleset")
	p.wantNoPage(theOutside, box.BoxIPv4, "8081")
	p.podman("network", "reload", "--all")
	p.wantAttached("reloaded", 1, p.leases()...)
	p.wantPage(theOutside, box.BoxIPv4, "8081")
	p.reaches("p1", box.RouterIPv4)
	p.remove("p1")
	p.wantNothing("removed")
}

// On a host that forwards nothing by itself, the firewall plugin opens the way out and back. As
// with the reference's plugins, published ports need a rule of the host's own.
func TestPodmanOnAHostThatForwardsNothing(t *testing.T) {
	p := newPodman(t)
	p.do("iptables", "-P", "FORWARD", "DROP")
	p.do("ip6tables", "-P", "FORWARD", "DROP")
	p.createNetwork("front", "10.89.7.0/24", "fd00:89:7::/64")
	p.run("p1", "--network", "front", "-p", "8081:80")
	p.reaches("p1", box.RouterIPv4)
	p.reaches("p1", box.RouterIPv6)
	p.wantNoPage(theOutside, box.BoxIPv4, "8081")
	p.do("iptables", "-A", "FORWARD", "-m", "conntrack", "--ctstate", "DNAT", "-j", "ACCEPT")
	p.wantPage(theOutside, box.BoxIPv4, "8081")
	p.remove("p1")
	p.wantNothing("removed")
}

// Containers that were started with the reference's plugins are detached by swiftcni, and get new
// neighbours.
func TestPodmanChangesPluginsWhileContainersRun(t *testing.T) {
	p := newPodman(t)
	p.createNetwork("front", "10.89.7.0/24", "fd00:89:7::/64")
	p.use(reference(t))
	p.run("old", "--network", "front", "-p", "8081:80")
	p.wantPage(theOutside, box.BoxIPv4, "8081")
	p.use(swiftcni)
	p.run("new", "--network", "front", "-p", "8082:80")
	p.wantPage(theOutside, box.BoxIPv4, "8081")
	p.wantPage(theOutside, box.BoxIPv4, "8082")
	p.reaches("new", "10.89.7.2")
	p.remove("old")
	p.wantAttached("old is removed", 1, "10.89.7.3", "fd00:89:7::3")
	p.wantNoRule("old is removed", "10.89.7.2", "fd00:89:7::2", "8081", "CNI-DN-")
	p.run("next", "--network", "front", "-p", "8081:80")
	p.wantPage(theOutside, box.BoxIPv4, "8081")
	p.wantPage(theOutside, box.BoxIPv4, "8082")
	p.remove("new", "next")
	p.wantNothing("all are removed")
}
