// SPDX-License-Identifier: Apache-2.0

package attacks

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"time"

	"golang.org/x/sys/unix"
)

// nobody is the user who owns what isn't root's in a state directory that everybody may write to.
const nobody = 65534

// sharedAttacks: somebody else may write to the state directory, and does.
func sharedAttacks() []attack {
	fifo := func(path string) error { return unix.Mkfifo(path, 0o666) }
	zero := func(path string) error { return unix.Mknod(path, unix.S_IFCHR|0o666, int(unix.Mkdev(1, 5))) }
	sparse := func(path string) error {
		return errors.Join(os.WriteFile(path, nil, 0o666), os.Truncate(path, 1<<30))
	}
	dir := func(path string) error {
		return errors.Join(os.Mkdir(path, 0o777), os.WriteFile(filepath.Join(path, "in_it"), nil, 0o666))
	}
	empty := func(path string) error { return os.WriteFile(path, nil, 0o666) }
	lie := func(path string) error { return os.WriteFile(path, []byte("victim\r\neth0"), 0o666) }
	lease, hint := "mynet/10.99.0.3", "mynet/last_reserved_ip.0"
	at := func(path string, trap func(string) error, refused bool) func(*host) {
		return func(h *host) { sharedState(h, path, trap, refused) }
	}
	return []attack{
		{"shared/torn_lease", at(lease, empty, false)},
		{"shared/huge_lease", at(lease, sparse, false)},
		{"shared/fifo_as_lease", at(lease, fifo, false)},
		{"shared/device_as_lease", at(lease, zero, false)},
		{"shared/directory_as_lease", at(lease, dir, false)},
		{"shared/lease_in_anothers_name", at(lease, lie, false)},
		{"shared/fifo_as_hint", at(hint, fifo, true)},
		{"shared/huge_hint", at(hint, sparse, false)},
		{"shared/directory_as_hint", at(hint, dir, true)},
		{"shared/directory_as_lock", at("mynet/lock", dir, true)},
		{"shared/fifo_as_record", at(".swiftcni/mynet/evil:eth0", fifo, false)},
		{"shared/directory_as_record", at(".swiftcni/mynet/evil:eth0", dir, true)},
		{"shared/fifo_as_sidecar", at(".swiftcni/mynet", fifo, true)},
		{"shared/file_as_network", at("mynet", empty, true)},
		{"shared/fifo_as_network", at("mynet", fifo, true)},
		{"shared/fifo_as_bitmap", fifoAsBitmap},
		{"shared/junk", junkState},
		{"shared/held_lock", heldLock},
	}
}

// sharedState puts something that its owner wants to be a trap in the place of a path. Calls end in
// time and either work or say why not; who's attached stays attached.
func sharedState(h *host, path string, trap func(string) error, mayRefuse bool) {
	victim := h.attach("victim", nil)
	h.check(os.Chmod(h.data, 0o777), os.Chmod(filepath.Join(h.data, "mynet"), 0o777))
	saved := h.data + ".saved"
	h.check(os.CopyFS(saved, os.DirFS(h.data)))
	full := filepath.Join(h.data, path)
	h.check(os.RemoveAll(full), trap(full), os.Lchown(full, nobody, nobody))
	evil := call{id: "evil", netns: victim.netns, ifName: "eth1"}
	for _, verb := range []string{"STATUS", "ADD", "DEL", "GC"} {
		evil.verb, evil.conf = verb, h.conf(map[string]any{"cniVersion": "1.1.0"})
		a := h.run(evil)
		if a.status != 0 && (!mayRefuse || a.msg == "") {
			h.Errorf("%s with %s in the way: %s", verb, path, a)
		}
	}
	victim.reaches()
	for _, verb := range []string{"gc", "ls"} {
		if a := h.program(nil, nil, program("swiftctl"), verb, "--data-dir", h.data); a.status != 0 && a.stderr == "" {
			h.Errorf("swiftctl %s: %s", verb, a)
		}
	}
	h.check(os.RemoveAll(h.data), os.Rename(saved, h.data))
	h.nothingOf("evil")
	victim.whole()
	victim.del()
	h.empty()
}

// fifoAsBitmap: the bitmap of taken addresses, which is kept from the first run of taken addresses
// on, can't be read.
func fifoAsBitmap(h *host) {
	victim := h.attach("victim", nil)
	h.crowd()
	taken := filepath.Join(h.data, ".swiftcni/mynet/@taken")
	evil := call{verb: "ADD", id: "evil", netns: victim.netns, ifName: "eth1"}
	blocks, err := os.ReadDir(taken)
	h.check(err)
	for _, b := range blocks {
		path := filepath.Join(taken, b.Name())
		h.check(os.Remove(path), unix.Mkfifo(path, 0o666), os.Lchown(path, nobody, nobody))
	}
	for _, verb := range []string{"ADD", "DEL"} {
		evil.verb = verb
		h.must(evil)
	}
	victim.whole()
	victim.del()
}

// junkState: names that mean nothing, by the thousand, are passed over.
func junkState(h *host) {
	victim := h.attach("victim", nil)
	for i := range 5000 {
		name := fmt.Sprintf("%d.junk", i)
		h.check(os.WriteFile(filepath.Join(h.data, "mynet", name), nil, 0o666), os.WriteFile(filepath.Join(h.data, name), nil, 0o666))
	}
	evil := call{verb: "ADD", id: "evil", netns: victim.netns, ifName: "eth1"}
	for _, verb := range []string{"ADD", "DEL"} {
		evil.verb = verb
		h.must(evil)
	}
	victim.whole()
	victim.del()
}

// heldLock: a lock that somebody holds is waited for, as it is among the plugins themselves, and
// nothing happens meanwhile. Only root may open the lock that's ours.
func heldLock(h *host) {
	victim := h.attach("victim", nil)
	lock := filepath.Join(h.data, "mynet/lock")
	if info, err := os.Stat(lock); err != nil || info.Mode().Perm()&0o007 != 0 {
		h.Errorf("%v, %v: others may open the lock", info.Mode(), err)
	}
	holder := exec.Command("flock", lock, "sleep", "1")
	h.check(holder.Start())
	defer holder.Wait()
	for start := time.Now(); exec.Command("flock", "--nonblock", lock, "true").Run() == nil; {
		if time.Since(start) > bound {
			h.Fatal("the lock isn't taken")
		}
	}
	h.must(call{verb: "ADD", id: "evil", netns: victim.netns, ifName: "eth1"})
	h.must(call{verb: "DEL", id: "evil", netns: victim.netns, ifName: "eth1"})
	victim.whole()
	victim.del()
}
