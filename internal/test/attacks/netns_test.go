// SPDX-License-Identifier: Apache-2.0

package attacks

import (
	"net"
	"os"
	"path/filepath"

	"github.com/swiftcni/swiftcni/internal/test/nstest"
	"golang.org/x/sys/unix"
)

// netnsAttacks give a path that's no network namespace, or not the container's.
func netnsAttacks() []attack {
	refused := func(says string, path func(h *host, dir string) string) func(*host) {
		return func(h *host) { badNetNS(h, path(h, h.TempDir()), says) }
	}
	fixed := func(path string) func(*host, string) string { return func(*host, string) string { return path } }
	return []attack{
		{"netns/symlink", refused("symbolic link", func(h *host, dir string) string {
			link := filepath.Join(dir, "link")
			h.check(os.Symlink(nstest.New(h, "target"), link))
			return link
		})},
		{"netns/fifo", refused("failed to open netns", func(h *host, dir string) string {
			h.check(unix.Mkfifo(filepath.Join(dir, "fifo"), 0o666))
			return filepath.Join(dir, "fifo")
		})},
		{"netns/socket", refused("failed to open netns", func(h *host, dir string) string {
			l, err := net.Listen("unix", filepath.Join(dir, "socket"))
			h.check(err)
			h.Cleanup(func() { l.Close() })
			return filepath.Join(dir, "socket")
		})},
		{"netns/plain_file", refused("failed to open netns", func(h *host, dir string) string {
			h.check(os.WriteFile(filepath.Join(dir, "file"), nil, 0o644))
			return filepath.Join(dir, "file")
		})},
		{"netns/device", refused("failed to open netns", fixed("/dev/zero"))},
		{"netns/terminal", refused("failed to open netns", fixed("/dev/ptmx"))},
		{"netns/directory", refused("failed to open netns", fixed("/proc/self"))},
		{"netns/procfs_file", refused("failed to open netns", fixed("/proc/self/status"))},
		{"netns/another_type", refused("not of networks|symbolic link", fixed("/proc/self/ns/mnt"))},
		{"netns/another_type_mounted", refused("not of networks", func(h *host, dir string) string {
			at := filepath.Join(dir, "uts")
			h.check(os.WriteFile(at, nil, 0o644), unix.Mount("/proc/self/ns/uts", at, "", unix.MS_BIND, ""))
			h.Cleanup(func() { _ = unix.Unmount(at, unix.MNT_DETACH) })
			return at
		})},
		{"netns/missing", refused("failed to open netns", fixed("/run/netns/none"))},
		{"netns/endless_path", refused("failed to open netns", func(_ *host, dir string) string {
			for len(dir) < 10_000 {
				dir += "/../" + filepath.Base(dir)
			}
			return dir
		})},
		{"netns/linked_directory", linkedNetNSDirectory},
		{"netns/the_hosts", hostsNetNS},
	}
}

// badNetNS: ADD and CHECK say what's wrong and change nothing. DEL does without a namespace.
func badNetNS(h *host, path, says string) {
	victim := h.attach("victim", nil)
	h.unchanged(func() {
		h.refused(call{verb: "ADD", id: "evil", netns: path}, 4, says)
		h.refused(call{verb: "CHECK", id: "evil", netns: path, conf: victim.withResult()}, 4, says)
		h.must(call{verb: "DEL", id: "evil", netns: path})
	})
	victim.whole()
	c := victim.call
	c.verb, c.netns = "DEL", path
	h.must(c)
	h.nothingOf("victim")
	h.empty()
}

// linkedNetNSDirectory: directories on the way may be links, as /var/run is. What's opened is
// what's checked and used.
func linkedNetNSDirectory(h *host) {
	ns := nstest.New(h, "c")
	link := filepath.Join(h.TempDir(), "netns")
	h.check(os.Symlink(filepath.Dir(ns), link))
	c := call{verb: "ADD", id: "c1", netns: filepath.Join(link, filepath.Base(ns))}
	h.must(c)
	c.verb = "DEL"
	h.must(c)
	h.empty()
}

// hostsNetNS: a container that shares the host's namespace isn't attached to anything.
func hostsNetNS(h *host) {
	victim := h.attach("victim", nil)
	h.unchanged(func() {
		h.refused(call{verb: "ADD", id: "evil", netns: h.ns}, 8, "should not be the same")
		h.run(call{verb: "DEL", id: "evil", netns: h.ns, ifName: "br0"})
	})
	victim.whole()
	victim.del()
	h.empty()
}
