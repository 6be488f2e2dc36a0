// SPDX-License-Identifier: Apache-2.0

package attacks

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/swiftcni/swiftcni/internal/test/nstest"
	"golang.org/x/sys/unix"
)

// stateAttacks put symbolic links to somebody else's files in the place of the state directory's
// own.
func stateAttacks() []attack {
	list := []attack{
		{"state/data_directory", stateElsewhere},
		{"state/hard_link", hardLinkedState},
	}
	for name, path := range map[string]string{
		"state/network_directory": "mynet",
		"state/lease":             "mynet/10.99.0.2",
		"state/lock":              "mynet/lock",
		"state/last_reserved_ip":  "mynet/last_reserved_ip.0",
		"state/indexes":           ".swiftcni",
		"state/index":             ".swiftcni/mynet",
		"state/bitmap":            ".swiftcni/mynet/@taken",
		"state/bitmap_block":      ".swiftcni/mynet/@taken/10.99.0.0",
		"state/boot":              ".swiftcni/mynet/@boot." + bootID(),
		"state/record":            ".swiftcni/mynet/evil:eth0",
		"state/record_to_come":    ".swiftcni/mynet/@next",
	} {
		list = append(list, attack{name, func(h *host) { linkedState(h, path) }})
	}
	slices.SortFunc(list, func(a, b attack) int { return strings.Compare(a.name, b.name) })
	return list
}

// bootID is this boot's, by which the index names a directory.
func bootID() string {
	text, err := os.ReadFile("/proc/sys/kernel/random/boot_id")
	if err != nil {
		panic(err) // procfs is everywhere that containers are
	}
	return strings.TrimSpace(string(text))
}

// elsewhere makes a directory with files that are no business of a state directory.
func elsewhere(t testing.TB) string {
	dir := t.TempDir()
	for _, name := range []string{"passwd", "10.99.0.2", "@next", "@lease", "a:eth0", "evil:eth1", "mynet:eth0"} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte("the host's"), 0o640); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

// linkedState replaces one path of the state by links to a directory, a file, and nothing. Whether
// a call then succeeds or says why not is open; it must change nothing outside, and a container
// that's attached stays so.
func linkedState(h *host, path string) {
	for _, target := range []string{"", "passwd", "new"} {
		victim := h.attach("victim", nil)
		h.crowd()
		outside := elsewhere(h)
		before := files(h, outside)
		at := filepath.Join(h.data, path)
		h.check(os.MkdirAll(filepath.Dir(at), 0o700), os.RemoveAll(at), os.Symlink(filepath.Join(outside, target), at))
		c := call{id: "evil", netns: victim.netns, ifName: "eth1"}
		for _, verb := range []string{"ADD", "CHECK", "DEL", "GC", "STATUS"} {
			c.verb, c.conf = verb, h.conf(map[string]any{"cniVersion": "1.1.0"})
			if a := h.run(c); a.status != 0 && a.msg == "" {
				h.Errorf("%s with %s linked to %q: %s", verb, path, target, a)
			}
		}
		h.program(nil, nil, program("swiftctl"), "gc", "--data-dir", h.data)
		h.program(nil, nil, program("swiftctl"), "ls", "--data-dir", h.data)
		if after := files(h, outside); !slices.Equal(before, after) {
			h.Errorf("%s linked to %q changed\n%s\nto\n%s", path, target, strings.Join(before, "\n"), strings.Join(after, "\n"))
		}
		victim.reaches()
		h.check(os.RemoveAll(h.data))
		for _, id := range []string{"victim", "evil"} { // by what the kernel knows
			h.run(call{verb: "DEL", id: id, netns: victim.netns, ifName: map[string]string{"evil": "eth1"}[id]})
		}
	}
	h.empty()
}

// crowd has leases in the way of the next one, so many that the store keeps its bitmap of taken
// addresses from now on.
func (h *host) crowd() {
	h.Helper()
	for i := 3; i < 20; i++ {
		h.check(os.WriteFile(filepath.Join(h.data, "mynet", fmt.Sprintf("10.99.0.%d", i)), []byte("x\r\neth0"), 0o600))
	}
	c := call{verb: "ADD", id: "last", netns: nstest.New(h, "last")}
	h.must(c)
	c.verb = "DEL"
	h.must(c)
	if blocks, err := os.ReadDir(filepath.Join(h.data, ".swiftcni/mynet/@taken")); err != nil || len(blocks) == 0 {
		h.Fatalf("no bitmap was made: %v", err)
	}
}

// stateElsewhere: a state directory that the administrator has linked elsewhere is as good as any.
func stateElsewhere(h *host) {
	other := h.TempDir()
	h.check(os.MkdirAll(filepath.Dir(h.data), 0o755), os.Symlink(other, h.data))
	c := h.attach("c1", nil)
	if _, err := os.Lstat(filepath.Join(other, "mynet", c.address())); err != nil {
		h.Error(err)
	}
	c.whole()
	c.del()
}

// hardLinkedState: a file in the state directory may be another's by a second name. It's unlinked
// at most.
func hardLinkedState(h *host) {
	victim := h.attach("victim", nil)
	file := filepath.Join(filepath.Dir(h.data), "passwd")
	for _, path := range []string{"mynet/10.99.0.3", ".swiftcni/mynet/@next", ".swiftcni/mynet/evil:eth1"} {
		at := filepath.Join(h.data, path)
		_ = os.Remove(at)
		h.check(os.WriteFile(file, []byte("the host's"), 0o640), unix.Link(file, at))
		a := h.run(call{verb: "ADD", id: "evil", netns: victim.netns, ifName: "eth1"})
		h.must(call{verb: "DEL", id: "evil", netns: victim.netns, ifName: "eth1"})
		if text, err := os.ReadFile(file); err != nil || string(text) != "the host's" {
			h.Errorf("%s is a name of a file that now holds %q, %v (%s)", path, text, err, a)
		}
		_ = os.Remove(at)
		h.check(os.Remove(file))
	}
	victim.whole()
	victim.del()
}
