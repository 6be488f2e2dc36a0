// SPDX-License-Identifier: Apache-2.0

//go:build worlds

package worlds_test

import (
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"testing"

	"github.com/swiftcni/swiftcni/internal/test/box"
	"github.com/swiftcni/swiftcni/internal/tool/build"
)

// Versions that aren't announced in the changelog yet, as of commits between two releases. One is later than the other.
const candidate, nextCandidate = "v0.9.0-rc.1", "v0.9.0-rc.2"

// released returns a directory with a release's files for this machine's architecture, which are made once.
func released(t *testing.T, version string) string {
	t.Helper()
	root, err := filepath.Abs(repository)
	if err != nil {
		t.Fatal(err)
	}
	out := filepath.Join(filepath.Dir(swiftctl), "release-"+version)
	if _, err := os.Stat(out); err == nil {
		return out
	}
	if err := build.Run(testWriter{t}, filepath.Join(root, "internal/tool/dist"), nil, "go", "run", ".",
		"-root", root, "-out", out+".new", "-version", version, "-arches", runtime.GOARCH); err != nil {
		t.Fatal(err)
	}
	if err := os.Rename(out+".new", out); err != nil {
		t.Fatal(err)
	}
	return out
}

// deb puts a release's package for Debian where the machine sees it, and returns its path there.
func (m *machine) deb(version string) string {
	m.t.Helper()
	found, err := filepath.Glob(filepath.Join(released(m.t, version), "*.deb"))
	if err != nil || len(found) != 1 {
		m.t.Fatalf("packages %q, %v", found, err)
	}
	path := filepath.Join(m.scratch, "machine", version+".deb")
	m.do("cp", found[0], path)
	return path
}

// apt runs apt-get, which has no network: what it needs is a file, or in its cache.
func (m *machine) apt(args ...string) {
	m.t.Helper()
	m.in(append([]string{"env", "DEBIAN_FRONTEND=noninteractive", "apt-get", "--yes", "--quiet"}, args...)...)
}

// installed are the packages of a list that are.
func (m *machine) installed(names ...string) (list []string) {
	m.t.Helper()
	for _, name := range names {
		command := m.enter("dpkg-query", "--show", "--showformat", "${db:Status-Abbrev}", name)
		if out, _ := m.Run(command[0], command[1:]...); strings.HasPrefix(out, "ii") {
			list = append(list, name)
		}
	}
	return list
}

// service is the process of a unit, "0" if none runs.
func (m *machine) service(unit string) string {
	m.t.Helper()
	return m.in("systemctl", "show", "--property", "MainPID", "--value", unit)
}

// ourUnits are those of the package, but the resident's service, which its socket starts.
var ourUnits = []string{"swiftcni.socket", "swiftcni-dhcp.socket", "swiftcni-exporter.service"}

// TestDebianPackage takes a machine through a package's life, in which three runtimes have containers that were attached by
// whatever was installed before: in place of Debian's package of the CNI project's plugins, an upgrade, the way back from it,
// removal, and Debian's package again.
func TestDebianPackage(t *testing.T) {
	for _, release := range []string{"bookworm", "trixie"} {
		t.Run(release, func(t *testing.T) {
			r := newRuntimes(t, release)
			before := r.files()
			old := r.underReference()
			r.replace(old)
			r.enable()
			r.exchange(nextCandidate, "install")
			r.exchange(candidate, "install", "--allow-downgrades")
			r.removePackage()
			r.reference()
			for _, file := range r.files() {
				if !slices.Contains(before, file) {
					t.Errorf("it left %s", file)
				}
			}
		})
	}
}

// underReference has containers attached by Debian's plugins: old and older of runc's, one of podman's, and a pod.
func (r *runtimes) underReference() (old pod) {
	t := r.machine.t
	t.Helper()
	r.pods.theirs = true
	r.bundle("old")
	r.bundle("older")
	r.pods.podman("network", "create", "--disable-dns", "--subnet", "10.89.7.0/24", "front")
	r.pods.run("old", "--network", "front", "-p", "8081:80")
	old = r.start("old", 8080)
	r.works("old", "8080", "8081")
	return old
}

// works wants a container of runc's to reach the outside, and published ports to be reached from there.
func (r *runtimes) works(bundle string, ports ...string) {
	r.machine.t.Helper()
	r.in("runc", "exec", bundle, "ping", "-c1", "-W60", box.RouterIPv4)
	for _, port := range ports {
		r.machine.wantPage(theOutside, box.BoxIPv4, port)
	}
}

// replace installs the package. What was attached before goes on, and leaves as if the plugins were still the same.
func (r *runtimes) replace(old pod) {
	t := r.machine.t
	t.Helper()
	r.apt("install", r.deb(candidate))
	if got := r.installed("swiftcni", "containernetworking-plugins", "containerd", "podman"); !slices.Equal(got, []string{"swiftcni", "containerd", "podman"}) {
		t.Errorf("of the packages, %q are installed", got)
	}
	r.works("old", "8080", "8081")
	r.unbundle("old")
	if err := r.end(old); err != nil {
		t.Error(err)
	}
	r.pods.remove("old")
	for _, port := range []string{"8080", "8081"} {
		r.machine.wantNoPage(theOutside, box.BoxIPv4, port)
	}
	r.machine.wantNoRule("what the other plugins attached is gone", "10.86.0.2", "10.85.0.2", "10.89.7.2")
	r.works("older")

	r.bundle("new")
	r.start("new", 8080)
	network := []string{"network", "create", "--subnet", "10.89.8.0/24", "back"}
	if r.installed("netavark") != nil {
		network = slices.Insert(network, 2, "--driver", "swiftcni")
	}
	r.pods.podman(network...)
	r.pods.run("new", "--network", "back", "-p", "8081:80")
	r.works("new", "8080", "8081")
}

// enable takes up the units, which the installation hasn't enabled. The exporter or a call starts the resident by its socket.
func (r *runtimes) enable() {
	t := r.machine.t
	t.Helper()
	for _, unit := range ourUnits {
		if state := r.sh(`systemctl is-enabled "$1" || true`, unit); state != "disabled" {
			t.Errorf("%s is %s after the installation", unit, state)
		}
	}
	r.in(append([]string{"systemctl", "enable", "--now"}, ourUnits...)...)
	r.in("systemctl", "start", "swiftcni-dhcp.service")
	r.bundle("resident")
	if pid := r.service("swiftcni.service"); pid == "0" {
		t.Error("no resident runs after the first call")
	}
}

// exchange installs another version. What ran before runs the new one, and attachments stay.
func (r *runtimes) exchange(version string, apt ...string) {
	t := r.machine.t
	t.Helper()
	services := []string{"swiftcni.service", "swiftcni-dhcp.service", "swiftcni-exporter.service"}
	before := map[string]string{}
	for _, unit := range services {
		before[unit] = r.service(unit)
	}
	r.apt(append(apt, r.deb(version))...)
	for _, unit := range services {
		if now := r.service(unit); now == "0" || now == before[unit] {
			t.Errorf("%s was process %s and is %s", unit, before[unit], now)
		}
	}
	for _, unit := range ourUnits {
		if state := r.sh(`systemctl is-enabled "$1" || true`, unit); state != "enabled" {
			t.Errorf("%s is %s", unit, state)
		}
	}
	if said := r.in("swiftctl", "version"); !strings.HasPrefix(said, "swiftctl "+version+"\n") {
		t.Errorf("swiftctl version: %s", said)
	}
	if said := r.sh("swiftctl doctor || true"); strings.Contains(said, "resident-") {
		t.Errorf("swiftctl doctor: %s", said)
	}
	r.works("new", "8080", "8081")
	id := "of-" + version
	r.bundle(id)
	r.works(id)
	r.unbundle("resident")
	r.bundle("resident")
	r.unbundle(id)
}

// removePackage leaves nothing of the package that runs, and all that containers need.
func (r *runtimes) removePackage() {
	t := r.machine.t
	t.Helper()
	r.pods.remove("new")
	r.unbundle("resident")
	// apt would remove what depends on plugins, podman on Debian 12.
	r.in("dpkg", "--remove", "--force-depends", "swiftcni")
	if left := r.sh("systemctl list-units --all --plain --no-legend 'swiftcni*'; pgrep -a swift || true; ls -d /run/swiftcni /etc/systemd/system/*/swiftcni* 2>/dev/null || true"); left != "" {
		t.Errorf("after the removal there are\n%s", left)
	}
	r.works("new", "8080")
	r.works("older")
	r.in("dpkg", "--purge", "--force-depends", "swiftcni")
	if left := r.sh("ls -d /usr/lib/cni /usr/lib/netavark 2>/dev/null || true"); left != "" {
		t.Errorf("after the purge there are\n%s", left)
	}
}

// reference installs Debian's package again, which detaches what's there and attaches anew.
func (r *runtimes) reference() {
	t := r.machine.t
	t.Helper()
	r.apt("install", "containernetworking-plugins")
	r.works("new", "8080")
	r.twice("new", func() error { return r.try("DEL", "new") })
	r.in("runc", "delete", "-f", "new")
	r.unbundle("older")
	r.bundle("again")
	r.works("again")
	r.unbundle("again")
	for _, id := range strings.Fields(r.in("ctr", "-n", "k8s.io", "containers", "ls", "-q")) {
		r.twice(id, func() error { return r.end(pod{id: id}) })
	}
	if leases := r.machine.leases(); len(leases) > 0 {
		t.Errorf("leases %q are left", leases)
	}
	if ports := r.machine.ports(); len(ports) > 0 {
		t.Errorf("links %q are left", ports)
	}
	r.pods.podman("network", "rm", "front", "back")
}

// twice detaches a container of ours by Debian's plugins. With ipMasq they miss a chain of their own at the end, if iptables says
// so in other words than they know. The next DEL finds that all is gone.
func (r *runtimes) twice(id string, detach func() error) {
	t := r.machine.t
	t.Helper()
	err := detach()
	if err == nil {
		return
	}
	t.Logf("the other plugins' first DEL of %s: %v", id, err)
	if !strings.Contains(err.Error(), "does not exist") {
		t.Error("that's about something else")
	}
	if err := detach(); err != nil {
		t.Errorf("the second: %v", err)
	}
}
