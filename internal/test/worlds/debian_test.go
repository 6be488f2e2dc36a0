// SPDX-License-Identifier: Apache-2.0

//go:build worlds

package worlds_test

import (
	"cmp"
	"fmt"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// debian returns a directory with a release of Debian, with its runtimes, its package of the CNI project's plugins and systemd, as
// they are after their installation. Their packages are there, too, so that apt can install them again without a network.
func debian(t *testing.T, release string) string {
	t.Helper()
	return cached(t, "debian-"+release, []string{"usr/bin/podman", "usr/bin/containerd", "usr/lib/cni/bridge", "usr/bin/systemctl"}, func(dir string) *exec.Cmd {
		packages := "systemd,containernetworking-plugins,podman,conmon,runc,containerd,iproute2,iptables,nftables,iputils-ping"
		if release != "bookworm" {
			packages += ",netavark"
		}
		const script = `set -e
rm -rf "$0" "$0.new"
mkdir -p "$0"
debootstrap --variant=minbase --include="$1" "$2" "$0.new"
mv -T "$0.new" "$0"`
		return exec.Command("sh", "-c", script, dir, packages, release)
	})
}

// A machine is an installed Debian whose systemd runs as process 1, in a box with an outside.
type machine struct {
	*host
	pid string // of its systemd, in the box
}

// boot is how a machine comes up: from a cached directory, with the box's network and /var/lib/cni, and otherwise with what is its
// own. Where overlays can't be stacked, it has directories of the scratch directory, which it sees by the same name. What isn't
// of namespaces can't be written: neither sysctls but the network's, nor /sys.
const boot = `set -e
root=$1/root
mkdir -p "$1/upper" "$1/work" "$root" "$1/containers" "$1/containerd"
mount -t overlay overlay -o "lowerdir=$0,upperdir=$1/upper,workdir=$1/work" "$root"
cd "$root"
mount -t proc proc proc
mount --bind proc/sys proc/sys && mount -o remount,bind,ro proc/sys && mount --bind /proc/sys/net proc/sys/net
mount -t sysfs -o ro sysfs sys
mount -t cgroup2 cgroup2 sys/fs/cgroup
mount -t tmpfs -o mode=755 dev dev
for device in null zero full random urandom tty; do touch "dev/$device" && mount --bind "/dev/$device" "dev/$device"; done
mkdir dev/pts dev/shm && mount -t devpts -o newinstance,ptmxmode=0666,mode=620 devpts dev/pts
ln -s pts/ptmx dev/ptmx && ln -s /proc/self/fd dev/fd
mount -t tmpfs -o mode=755 run run
mkdir -p var/lib/cni var/lib/containers var/lib/containerd "$root$1"
mount --bind /var/lib/cni var/lib/cni
mount --bind "$1/containers" var/lib/containers
mount --bind "$1/containerd" var/lib/containerd
mount --bind "$1" "$root$1"
for unit in systemd-sysctl.service systemd-modules-load.service systemd-udevd.service tmp.mount getty.target console-getty.service apt-daily.timer; do
	ln -sf /dev/null "etc/systemd/system/$unit"
done
pivot_root . mnt && umount -l mnt && cd /
exec env -i container=box PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin \
	/lib/systemd/systemd --log-target=console --show-status=false systemd.unit=multi-user.target`

func newMachine(t *testing.T, release string) *machine {
	t.Helper()
	m := &machine{host: newHost(t)}
	cgroup := fmt.Sprintf("swiftcni-worlds-%d", m.PID())
	t.Cleanup(func() {
		m.Close()
		// The box's processes are gone, so all groups are empty. A mount of its own shows them wherever the machine has them.
		const remove = `mount -t cgroup2 cgroup2 "$0" && find "$0/$1" -depth -type d -exec rmdir {} \;`
		if out, err := exec.Command("unshare", "--mount", "sh", "-c", remove, t.TempDir(), cgroup).CombinedOutput(); err != nil {
			t.Errorf("%v\n%s", err, out)
		}
	})
	const enter = `mkdir -p "$1/cgroup" && mount -t cgroup2 cgroup2 "$1/cgroup" && mkdir "$1/cgroup/$2" && echo $$ >"$1/cgroup/$2/cgroup.procs" && umount "$1/cgroup" || exit
exec unshare --mount --pid --cgroup --fork --kill-child sh -c "$3" "$0" "$1"`
	m.daemon("sh", "-c", enter, debian(t, release), filepath.Join(m.scratch, "machine"), cgroup, boot)
	eventually(t, "systemd", func() bool {
		out, err := m.Run("sh", "-c", "cat /proc/[0-9]*/comm /dev/null 2>/dev/null | grep -qx systemd && grep -lx systemd /proc/[0-9]*/comm")
		m.pid, _, _ = strings.Cut(strings.TrimPrefix(strings.TrimSpace(out), "/proc/"), "/")
		return err == nil
	})
	var state string
	eventually(t, "the end of the boot", func() bool {
		command := m.enter("systemctl", "is-system-running", "--wait")
		state, _ = m.Run(command[0], command[1:]...) // it fails for a machine that is degraded
		return strings.Contains("running degraded", cmp.Or(strings.TrimSpace(state), "none"))
	})
	if state = strings.TrimSpace(state); state != "running" {
		t.Fatalf("the machine is %s:\n%s", state, m.in("systemctl", "--failed"))
	}
	return m
}

// enter is the command that runs another one on the machine.
func (m *machine) enter(command ...string) []string {
	return append([]string{"nsenter", "-t", m.pid, "-m", "-p", "-C", "--", "sh", "-c", `cd / && exec "$@"`, "sh"}, command...)
}

// in runs a command on the machine that may not fail.
func (m *machine) in(command ...string) string {
	m.t.Helper()
	command = m.enter(command...)
	return m.do(command[0], command[1:]...)
}

// sh runs a script there.
func (m *machine) sh(script string, args ...string) string {
	m.t.Helper()
	return m.in(append([]string{"sh", "-ec", script, "sh"}, args...)...)
}

// put writes a file of the machine.
func (m *machine) put(path, text string) {
	m.t.Helper()
	m.sh(`mkdir -p "$(dirname "$1")"; printf %s "$2" >"$1"`, path, text)
}

// files lists those of the machine that packages and their scripts could leave, with links' targets.
func (m *machine) files() []string {
	m.t.Helper()
	return strings.Split(m.sh(`find /usr /etc /var /opt /root /run/swiftcni /run/cni -xdev \( -path /var/lib/dpkg -o -path /var/cache -o -path /var/lib/apt -o -path /var/log -o -path /var/tmp \) -prune -o -not -type d -printf '%p %l\n' 2>/dev/null | sort`), "\n")
}

// runtimes are those of the machine, with their ways to swiftcni or to the plugins that were there before.
type runtimes struct {
	*machine
	*containerd
	pods podman
}

// machineNetwork is what a script for runc calls: the plugins of Debian's package know no later version.
const machineNetwork = `{ "cniVersion": "1.0.0", "name": "bundles", "type": "bridge", "bridge": "oci0", "isDefaultGateway": true, "ipMasq": true,
  "ipam": { "type": "host-local", "ranges": [ [ { "subnet": "10.86.0.0/24" } ], [ { "subnet": "fd00:86::/64" } ] ] } }
`

// newRuntimes configures those of a machine as Debian's packages leave them, but without limits of memory and CPU: their cgroups
// may belong to the first version on the machine that runs the test.
func newRuntimes(t *testing.T, release string) *runtimes {
	t.Helper()
	m := newMachine(t, release)
	r := &runtimes{machine: m}
	web := filepath.Join(m.scratch, "machine/web.tar")
	archive(t, web, "localhost/web:1", "/bin/httpd", "-f", "-p", "80", "-h", "/www")
	rootfs(t, filepath.Join(m.scratch, "machine/bundle/rootfs"))
	m.put("/etc/bundles.conf", machineNetwork)
	m.put("/etc/cni/net.d/10-pods.conflist", podNetwork)
	m.put("/etc/containerd/config.toml", `version = 2
[plugins."io.containerd.grpc.v1.cri"]
  sandbox_image = "localhost/web:1"
  disable_apparmor = true
  disable_cgroup = true
  restrict_oom_score_adj = true
  [plugins."io.containerd.grpc.v1.cri".cni]
    bin_dir = "/usr/lib/cni"
    conf_dir = "/etc/cni/net.d"
`)
	m.put("/etc/containers/containers.conf", `
[engine]
cgroup_manager = "cgroupfs"
events_logger = "file"
runtime = "runc"
[network]
firewall_driver = "nftables"
[containers]
log_driver = "k8s-file"
pids_limit = 0
`)
	m.in("systemctl", "restart", "containerd")
	m.in("ctr", "-n", "k8s.io", "images", "import", web)
	socket := fmt.Sprintf("/proc/%d/root/proc/%s/root%s", m.PID(), m.pid, containerdSocket)
	r.containerd = &containerd{m.host, newCRI(socket)}
	r.pods = podman{m.host, m.enter("podman")}
	m.in("sh", "-c", `tar -C "$0" -c . | podman import -q - localhost/web`, filepath.Join(m.scratch, "machine/bundle/rootfs"))
	return r
}

// bundle starts a container by runc, and attaches it by a script that needs nothing but the plugin.
func (r *runtimes) bundle(id string) {
	r.machine.t.Helper()
	dir := filepath.Join(r.machine.scratch, "machine/bundle")
	r.sh(`cd "$1" && rm -f config.json && runc spec && sed -i 's/"terminal": true/"terminal": false/; s/"sh"/"httpd", "-f", "-p", "80", "-h", "\/www"/; s/"CAP_KILL"/"CAP_KILL", "CAP_NET_RAW"/' config.json
runc run -d -b "$1" "$2" </dev/null >"$1/log" 2>&1 || { cat "$1/log" >&2; exit 1; }`, dir, id)
	r.plugin("ADD", id)
}

func (r *runtimes) plugin(verb, id string) {
	r.machine.t.Helper()
	if err := r.try(verb, id); err != nil {
		r.machine.t.Fatal(err)
	}
}

func (r *runtimes) try(verb, id string) error {
	command := r.enter("sh", "-ec", `pid=$(runc state "$2" | sed -n 's/.*"pid": \([0-9]*\).*/\1/p')
CNI_COMMAND=$1 CNI_CONTAINERID=$2 CNI_NETNS=/proc/$pid/ns/net CNI_IFNAME=eth0 CNI_PATH=/usr/lib/cni exec /usr/lib/cni/bridge </etc/bundles.conf`, "sh", verb, id)
	out, err := r.machine.Run(command[0], command[1:]...)
	if err != nil {
		err = fmt.Errorf("%w\n%s", err, out)
	}
	return err
}

func (r *runtimes) unbundle(id string) {
	r.machine.t.Helper()
	r.plugin("DEL", id)
	r.in("runc", "delete", "-f", id)
}
