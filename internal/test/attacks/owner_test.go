// SPDX-License-Identifier: Apache-2.0

package attacks

import (
	"encoding/binary"

	"github.com/swiftcni/swiftcni/internal/test/nstest"
	"golang.org/x/sys/unix"
)

func ownerAttacks() []attack {
	return []attack{
		{"name/same_link", func(h *host) {
			collidingOwners(h, func(sum [64]byte) uint32 { return binary.BigEndian.Uint32(sum[:]) })
		}},
		{"netns/anothers", anothersNetNS},
		{"netns/the_hosts_at_del", hostsNetNSAtDel},
		{"name/interface_quoted", func(h *host) { serveIfNames(h, []string{`a"b`, `a\b`, "lo", "eth7"}) }},
		{"record/anothers_link", func(h *host) {
			recordOf(h, "evil", func(evil, victim []string) { copy(evil[4:7], victim[4:7]) })
		}},
		{"record/of_nobody", func(h *host) {
			recordOf(h, "ghost", func(ghost, victim []string) { copy(ghost, victim) })
		}},
		{"shared/fifo_as_lock", func(h *host) {
			sharedState(h, "mynet/lock", func(path string) error { return unix.Mkfifo(path, 0o666) }, true)
		}},
	}
}

// anothersNetNS: a container is gone, and by the number of its process its namespace's path now is
// another's.
func anothersNetNS(h *host) {
	victim := h.attach("victim", nil)
	gone := h.attach("gone", nil)
	nstest.Run(h, gone.netns, "ip", "link", "delete", "eth0")
	c := gone.call
	c.verb, c.netns = "DEL", victim.netns
	h.must(c)
	h.nothingOf("gone")
	victim.whole()
	// The same for one that was never there.
	h.must(call{verb: "DEL", id: "never", netns: victim.netns})
	victim.whole()
	victim.del()
	h.empty()
}

// hostsNetNSAtDel: a container's process is gone, and its number now belongs to one of the host's.
func hostsNetNSAtDel(h *host) {
	victim := h.attach("victim", nil)
	c := victim.call
	c.verb, c.netns = "DEL", h.ns
	h.run(c)
	h.nothingOf("victim")
	h.empty()
}
