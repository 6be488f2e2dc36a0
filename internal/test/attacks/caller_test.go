// SPDX-License-Identifier: Apache-2.0

package attacks

import (
	"os"
	"path/filepath"
	"strings"

	"github.com/swiftcni/swiftcni/internal/test/nstest"
)

// callerAttacks are by a caller who isn't root, or on what root leaves lying about.
func callerAttacks() []attack {
	asNobody := []string{"setpriv", "--reuid=65534", "--regid=65534", "--clear-groups", "--inh-caps=-all", "--bounding-set=-all", "--"}
	inUserNS := []string{"unshare", "--user", "--map-root-user", "--"}
	return []attack{
		{"caller/nobody", func(h *host) { unprivileged(h, asNobody, 0o755) }},
		{"caller/nobody_with_state", func(h *host) { unprivileged(h, asNobody, 0o777) }},
		{"caller/root_of_a_user_namespace", func(h *host) { unprivileged(h, inUserNS, 0o755) }},
		{"caller/modes", func(h *host) { modes(h, "0022") }},
		{"caller/umask", func(h *host) { modes(h, "0") }},
	}
}

// unprivileged: a caller who may not do it is told so, and nothing has changed.
func unprivileged(h *host, wrap []string, mode os.FileMode) {
	victim := h.attach("victim", nil)
	h.check(os.Chmod(filepath.Dir(h.data), 0o755), os.Chmod(filepath.Dir(filepath.Dir(h.data)), 0o755), os.Chmod(h.data, mode))
	// A bridge and a network of its own, so that whatever is allowed of the files would be made.
	conf := h.conf(map[string]any{"name": "evilnet", "bridge": "br1", "cniVersion": "1.1.0", "macspoofchk": true})
	for _, conf := range [][]byte{nil, conf} {
		for _, verb := range []string{"ADD", "CHECK", "DEL", "GC"} {
			ns := nstest.New(h, "evil")
			links, elements := h.links(), h.elements()
			a := h.run(call{verb: verb, id: "victim", netns: ns, conf: conf, wrap: wrap})
			if verb == "ADD" && a.status == 0 || a.status != 0 && (a.status != 1 || a.code == 0 || a.msg == "") {
				h.Errorf("%s: %s", verb, a)
			}
			if strings.Join(links, "\n") != strings.Join(h.links(), "\n") || strings.Join(elements, "\n") != strings.Join(h.elements(), "\n") {
				h.Errorf("%s has changed links or elements", verb)
			}
			for _, f := range files(h, h.data) {
				if strings.Contains(f, "evilnet/10.") || strings.Contains(f, "evilnet/victim") {
					h.Errorf("%s left %s", verb, f)
				}
			}
		}
	}
	args := append(append([]string{}, wrap...), program("swiftctl"), "gc", "--data-dir", h.data)
	if a := h.program([]string{"PATH=" + os.Getenv("PATH")}, nil, args...); a.status == 0 && a.stdout != "" {
		h.Errorf("swiftctl gc: %s", a)
	}
	victim.whole()
	victim.del()
}

// modes: what attachments leave in the state directory can be listed by everybody, as host-local
// has it, and neither read nor changed by anybody but root, whatever the umask.
func modes(h *host, umask string) {
	add := func(id string) call {
		c := call{verb: "ADD", id: id, netns: nstest.New(h, "c"), wrap: []string{"sh", "-c", `umask "$0" && exec "$@"`, umask}}
		h.must(c)
		return c
	}
	c := add("c1")
	for i := range 6 { // far enough for the bitmap of taken addresses
		h.check(os.WriteFile(filepath.Join(h.data, "mynet", "10.99.0."+string(rune('3'+i))), []byte("x\r\neth0"), 0o600))
	}
	d := add("c2")
	for path, want := range map[string]os.FileMode{
		"": 0o755, "mynet": 0o755, "mynet/10.99.0.2": 0o600, "mynet/last_reserved_ip.0": 0o600,
		".swiftcni": 0o700, ".swiftcni/mynet": 0o700, ".swiftcni/mynet/@taken": 0o700, ".swiftcni/mynet/@taken/10.99.0.0": 0o600,
	} {
		info, err := os.Lstat(filepath.Join(h.data, path))
		if err != nil {
			h.Error(err)
			continue
		}
		if got := info.Mode().Perm(); got&^want != 0 {
			h.Errorf("%s has mode %o, want %o at most", path, got, want)
		}
	}
	lock, err := os.Lstat(filepath.Join(h.data, "mynet/lock"))
	if err != nil || lock.Mode().Perm()&0o027 != 0 {
		h.Errorf("the lock: %v, %v", lock, err)
	}
	for _, c := range []call{c, d} {
		c.verb = "DEL"
		h.must(c)
	}
	h.empty()
}
