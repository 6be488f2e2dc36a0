// SPDX-License-Identifier: Apache-2.0

//go:build worlds

package worlds_test

import (
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/swiftcni/swiftcni/internal/test/box"
)

// podmanVar names a root with another podman. A root of Debian sid by debootstrap, with its runc, conmon, nftables, iproute2 and
// iputils-ping, has podman 6 after `apt-get install -t experimental podman netavark`.
const podmanVar = "SWIFTCNI_TEST_PODMAN"

// podman5Root is the root that has podman, which is Debian 13's by default.
func podman5Root(t *testing.T) string {
	t.Helper()
	if root := os.Getenv(podmanVar); root != "" {
		return root
	}
	return debian(t, "trixie")
}

// newPodman5 is Debian 13's podman, whose networks are netavark's, with swiftcni as a driver. It runs
// in a root of its own, above the cached one, and in all else on the host.
func newPodman5(t *testing.T) *podman {
	t.Helper()
	h := newHost(t)
	dir := filepath.Join(h.scratch, "podman5")
	// Its root is that of a mount namespace: what a container joins isn't where a process has changed its root to.
	const mounts = `set -e
mkdir -p "$1/upper" "$1/work" "$1/root" "$1/graph"
mount -t overlay overlay -o "lowerdir=$0,upperdir=$1/upper,workdir=$1/work" "$1/root"
for d in proc sys dev run; do mount --rbind /$d "$1/root/$d"; done
mount -t cgroup2 cgroup2 "$1/root/sys/fs/cgroup" # podman 6 refuses the first version
mkdir -p /var/lib/cni "$1/root/var/lib/cni" && mount --bind /var/lib/cni "$1/root/var/lib/cni"
mkdir -p "$1/root$1" && mount --bind "$1" "$1/root$1"
mkdir -p "$1/root/usr/local/lib/netavark" && cp "$2/bridge" "$1/root/usr/local/lib/netavark/swiftcni"
cd "$1/root" && pivot_root . mnt && umount -l mnt && cd /
echo $$ >/run/podman5.next && mv /run/podman5.next /run/podman5
exec sleep infinity`
	h.daemon("unshare", "-m", "sh", "-c", mounts, podman5Root(t), dir, swiftcni)
	eventually(t, "podman's root", func() bool { _, err := h.Run("test", "-e", "/run/podman5"); return err == nil })
	for name, text := range map[string]string{
		"containers.conf": `
[engine]
cgroup_manager = "cgroupfs"
events_logger = "file"
runtime = "runc"
[network]
network_backend = "netavark"
firewall_driver = "nftables"
netavark_plugin_dirs = ["/usr/local/lib/netavark"]
[containers]
log_driver = "k8s-file"
pids_limit = 0
default_capabilities = ["CHOWN", "DAC_OVERRIDE", "FOWNER", "KILL", "NET_BIND_SERVICE", "NET_RAW", "SETGID", "SETUID", "SYS_CHROOT"]
`,
		"storage.conf": fmt.Sprintf("[storage]\ndriver = \"overlay\"\ngraphroot = %q\nrunroot = \"/run/containers\"\n", dir+"/graph"),
	} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	p := &podman{h, []string{"PODMAN_IGNORE_CGROUPSV1_WARNING=1", "CONTAINERS_CONF=" + dir + "/containers.conf", "CONTAINERS_STORAGE_CONF=" + dir + "/storage.conf", "nsenter", "-t", h.do("cat", "/run/podman5"), "-m", "--", "podman"}}
	t.Cleanup(func() {
		h.Close()
		removeCgroups("libpod_parent")
	})
	p.importWeb(filepath.Join(dir, "rootfs"))
	return p
}

// Podman 5's day, with networks of the driver swiftcni.
func TestPodman5(t *testing.T) {
	p := newPodman5(t)
	p.podman("network", "create", "--driver", "swiftcni", "--ipv6", "--subnet", "10.89.7.0/24", "--subnet", "fd00:89:7::/64", "front")
	p.run("p1", "--network", "front", "-p", "8081:80", "-p", "127.0.0.1:8090-8092:80-82/tcp")
	p.wantAttached("p1 runs", 1)
	p.wantPublished()
	p.wantPage(theHost, "127.0.0.1", "8090")
	p.wantNoPage(theOutside, box.BoxIPv4, "8090")
	if got := p.podman("inspect", "-f", "{{range .NetworkSettings.Networks}}{{.IPAddress}} {{.Gateway}} {{.GlobalIPv6Address}}{{end}}", "p1"); got != "10.89.7.2 10.89.7.1 fd00:89:7::2" {
		t.Errorf("podman knows p1 as %q", got)
	}

	p.run("p2", "--network", "front", "--ip", "10.89.7.77", "--mac-address", "02:00:5e:10:00:77")
	p.wantNeighbour()

	p.podman("restart", "-t", "0", "p1")
	p.wantPage(theOutside, box.BoxIPv4, "8081")
	p.podman("network", "reload", "p1")
	p.wantPage(theOutside, box.BoxIPv4, "8081")
	p.podman("network", "create", "--driver", "swiftcni", "--subnet", "10.89.8.0/24", "back")
	p.podman("network", "connect", "back", "p1")
	p.run("p3", "--network", "back")
	p.reaches("p3", "10.89.8.2")
	p.podman("network", "disconnect", "back", "p1")
	p.wantAttached("disconnected", 3)
	p.reaches("p1", box.RouterIPv4)

	if _, err := p.Run("env", append(slices.Clone(p.env), "run", "-d", "--name", "p4", "--network", "front", "-p", "8081:80", "localhost/web", "true")...); err == nil ||
		!strings.Contains(err.Error(), "8081") {
		t.Errorf("a port that's taken: %v", err)
	}
	p.remove("p1", "p2", "p3", "p4")
	p.wantNothing("all are removed")
	p.wantNoPage(theOutside, box.BoxIPv4, "8081")
	p.podman("network", "rm", "front", "back")
}

// The networks' kinds, beside one of netavark's own.
func TestPodman5KindsOfNetworks(t *testing.T) {
	p := newPodman5(t)
	p.podman("network", "create", "--driver", "swiftcni", "plain")
	p.podman("network", "create", "--driver", "swiftcni", "--opt", "ipam=swiftcni", "own")
	p.podman("network", "create", "--driver", "swiftcni", "--internal", "--subnet", "10.89.7.0/24", "inside")
	for i, name := range []string{"red", "blue"} {
		p.podman("network", "create", "--driver", "swiftcni", "--opt", "isolate=true", "--opt", "mtu=1400", "--subnet", fmt.Sprintf("10.89.%d.0/24", 8+i), name)
	}
	p.podman("network", "create", "--disable-dns", "--subnet", "10.89.20.0/24", "theirs")
	networks := []string{"plain", "own", "red", "blue", "theirs"}
	for i, name := range networks {
		p.theirs = p.theirs || name == "theirs"
		p.run(name, "--network", name, "-p", fmt.Sprintf("%d:80/udp", 8000+i))
		p.reaches(name, box.RouterIPv4)
	}
	// netavark's rules masquerade what has the bit of portmap's: servers see their clients' addresses all the same.
	for i, name := range networks {
		p.wantUDP(box.BoxIPv4, 8000+i, name, 80)
	}
	for _, name := range []string{"i1", "i2"} {
		p.run(name, "--network", "inside")
	}
	p.reaches("i1", p.podman("inspect", "-f", "{{.NetworkSettings.Networks.inside.IPAddress}}", "i2"))
	p.wantSilence("i1", box.RouterIPv4)
	p.wantSilence("red", "10.89.9.2")
	p.wantSilence("blue", "10.89.8.2")
	p.reaches("plain", "10.89.8.2")
	if link := p.podman("exec", "red", "ip", "link", "show", "eth0"); !strings.Contains(link, "mtu 1400") {
		t.Errorf("red has\n%s", link)
	}
	if leases := p.leases(); len(leases) != 1 {
		t.Errorf("leases %q, want that of the network with its own IPAM", leases)
	}
	p.run("both", "--network", "plain,theirs")
	p.reaches("both", "10.89.20.1")
	var created []struct{ Driver string }
	if err := json.Unmarshal([]byte(p.podman("network", "inspect", "red")), &created); err != nil || created[0].Driver != "swiftcni" {
		t.Errorf("red is %v, %v", created, err)
	}
	if _, err := p.Run("env", append(slices.Clone(p.env), "network", "create", "--driver", "swiftcni", "--opt", "colour=red", "wrong")...); err == nil ||
		!strings.Contains(err.Error(), "options.colour: isn't an option of this driver") {
		t.Errorf("an unknown option: %v", err)
	}
	p.remove(append(networks, "i1", "i2", "both")...)
	p.wantNothing("all are removed")
}

// resideBeside starts a resident in podman's root.
func (p *podman) resideBeside() *resident {
	p.t.Helper()
	program := filepath.Join(p.scratch, "podman5", "swiftctl") // that's the same file in both roots
	if _, err := os.Stat(program); err != nil {
		p.do("cp", swiftctl, program)
	}
	return p.resideBy("nsenter", "-t", p.do("cat", "/run/podman5"), "-m", "--", program)
}

// A resident makes the driver's calls. Podman tears down once, also if the resident dies meanwhile.
func TestPodman5ByResident(t *testing.T) {
	p := newPodman5(t)
	r := p.resideBeside()
	p.podman("network", "create", "--driver", "swiftcni", "--opt", "ipam=swiftcni", "--subnet", "10.89.7.0/24", "front")
	p.run("p1", "--network", "front", "-p", "8081:80")
	p.wantPage(theOutside, box.BoxIPv4, "8081")
	p.podman("restart", "-t", "0", "p1")
	p.wantPage(theOutside, box.BoxIPv4, "8081")
	if made := r.made(); made["create swiftcni"] != 1 || made["setup swiftcni"] != 2 || made["teardown swiftcni"] != 1 {
		t.Errorf("the resident made %v", made)
	}
	release := p.hold("front")
	removed := make(chan struct{})
	go func() {
		defer close(removed)
		p.remove("p1")
	}()
	p.await("the resident waits for the lock", func() bool {
		out, err := p.Run("sh", "-c", "readlink /proc/"+r.pid+"/fd/*")
		return err == nil && strings.Contains(out, "/networks/front/lock")
	})
	r.end("KILL")
	release()
	<-removed
	p.wantNothing("removed while the resident dies")
	p.wantNoPage(theOutside, box.BoxIPv4, "8081")
}

// idleDriver is a driver of netavark's that does nothing: what it costs is podman's and netavark's own.
const idleDriver = `set -e
cat >/usr/local/lib/netavark/idle <<'END'
#!/bin/sh
case "$1" in
info) echo '{"version":"1.0.0","api_version":"1.0.0"}';;
create) cat;;
setup) cat >/dev/null; echo '{"dns_search_domains":[],"dns_server_ips":[],"interfaces":{}}';;
teardown) cat >/dev/null;;
esac
END
chmod 755 /usr/local/lib/netavark/idle`

// A start with a port, with a range of 200, and with 200 ports each by itself, by netavark's bridge and by
// swiftcni, without and with a resident, beside that of a container without a network. Nothing is judged by
// it.
func TestPodman5StartTimes(t *testing.T) {
	p := newPodman5(t)
	p.podman("network", "create", "--disable-dns", "--subnet", "10.89.7.0/24", "theirs")
	p.podman("network", "create", "--driver", "swiftcni", "--subnet", "10.89.8.0/24", "ours")
	p.do("nsenter", "-t", p.do("cat", "/run/podman5"), "-m", "--", "sh", "-c", idleDriver)
	p.podman("network", "create", "--driver", "idle", "--subnet", "10.89.9.0/24", "idle")
	p.theirs = true
	var each []string
	for i := range 200 { // with gaps, since podman makes a range of neighbours
		each = append(each, "-p", fmt.Sprintf("%d:%d", 10000+2*i, 8100+2*i))
	}
	for _, ports := range []struct {
		name string
		args []string
	}{{"one port", []string{"-p", "8081:80"}}, {"a range of 200", []string{"-p", "8100-8299:8100-8299"}}, {"200 ports", each}} {
		names := []string{"none", "idle", "theirs", "ours", "ours by a resident"}
		starts, ends := map[string][]time.Duration{}, map[string][]time.Duration{}
		for round := range rounds + 1 {
			// Who comes after one that leaves the kernel to clear up waits for the kernel: it's not always the same.
			for _, i := range rand.Perm(len(names)) {
				name := names[i]
				network, resides := strings.CutSuffix(name, " by a resident")
				args := append([]string{"--network", network}, ports.args...)
				if name == "none" {
					args = args[:2]
				}
				var r *resident
				if resides {
					r = p.resideBeside()
				}
				begun := time.Now()
				p.run("p", args...)
				started := time.Now()
				p.remove("p")
				if round > 0 {
					starts[name], ends[name] = append(starts[name], started.Sub(begun)), append(ends[name], time.Since(started))
				}
				if r != nil {
					r.end("TERM")
				}
			}
		}
		for _, name := range names {
			t.Logf("podman 5, run with %s, rm: by %s: start %v, removal %v", ports.name, name, median(starts[name]), median(ends[name]))
		}
	}
}
