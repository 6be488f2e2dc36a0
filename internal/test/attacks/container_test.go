// SPDX-License-Identifier: Apache-2.0

package attacks

import (
	"strings"

	"github.com/swiftcni/swiftcni/internal/test/nstest"
)

// containerAttacks are what a container with CAP_NET_ADMIN can do to its own interface. Each line
// is for ip(8).
func containerAttacks() []attack {
	does := func(script ...string) func(*host) {
		return func(h *host) { hostileContainer(h, script) }
	}
	return []attack{
		{"container/renames", does("link set eth0 down", "link set eth0 name stolen")},
		{"container/renames_and_replaces", does("link set eth0 down", "link set eth0 name stolen", "link add eth0 type bridge")},
		{"container/moves", does("link set eth0 netns OTHER")},
		{"container/moves_and_replaces", does("link set eth0 netns OTHER", "link add eth0 type veth peer name eth1")},
		{"container/moves_into_anothers", does("link set eth0 netns VICTIM name evil0")},
		{"container/deletes", does("link delete eth0")},
		{"container/recreates", does("link delete eth0", "link add eth0 type veth peer name peer0")},
		{"container/recreates_with_anothers_peer", does("link delete eth0", "link add eth0 type veth peer name evil0 netns VICTIM")},
		{"container/recreates_with_its_index", does("link delete eth0", "link add eth0 index INDEX type bridge")},
		{"container/changes_mac", does("link set eth0 down", "link set eth0 address 02:00:00:00:00:01", "link set eth0 up")},
		{"container/takes_anothers_mac", does("link set eth0 down", "link set eth0 address VICTIMMAC", "link set eth0 down")},
		{"container/takes_anothers_address", does("addr add VICTIMADDR/32 dev lo")},
		{"container/flushes", does("addr flush dev eth0", "route flush table main", "link set eth0 down")},
		{"container/enslaves", does("link add br0 type bridge", "link set eth0 master br0")},
		{"container/alternative_names", does("link property add dev eth0 altname br0", "link property add dev eth0 altname veth00000000")},
	}
}

// hostileContainer lets a container do as it likes and then detaches it, by DEL with and without
// its namespace, by GC's list and by proof of death: nothing of it is left on the host, and its
// neighbour is as it was.
func hostileContainer(h *host, script []string) {
	victim := h.attach("victim", nil)
	other := nstest.New(h, "other")
	for _, way := range []string{"DEL", "DEL without namespace", "GC", "swiftctl gc"} {
		evil := h.attach("evil", nil)
		words := strings.NewReplacer("OTHER", other, "VICTIMMAC", victim.mac(), "VICTIMADDR", victim.address(), "VICTIM", victim.netns,
			"INDEX", index(evil))
		for _, line := range script {
			nstest.Run(h, evil.netns, "ip", strings.Fields(words.Replace(line))...)
		}
		c := evil.call
		switch way {
		case "GC":
			c.verb, c.conf = "GC", h.conf(map[string]any{"cniVersion": "1.1.0",
				"cni.dev/valid-attachments": []map[string]string{{"containerID": "victim", "ifname": "eth0"}}})
			h.must(c)
		case "swiftctl gc":
			if a := h.program(nil, nil, program("swiftctl"), "gc", "--data-dir", h.data); a.status != 0 {
				h.Errorf("swiftctl gc: %s", a)
			}
			victim.whole()
			fallthrough
		default:
			if c.verb = "DEL"; way == "DEL without namespace" {
				c.netns = ""
			}
			h.must(c)
		}
		h.nothingOf("evil")
		if links := h.links(); len(links) != 1 {
			h.Errorf("after %s: links %q", way, links)
		}
		victim.whole()
		for _, ns := range []string{evil.netns, victim.netns, other} {
			for _, l := range []string{"evil0", "peer0", "eth1"} {
				_ = nstest.Command(ns, "ip", "link", "delete", l).Run()
			}
		}
	}
	victim.del()
	h.empty()
}

func (c *container) mac() string {
	_, rest, _ := strings.Cut(linksIn(c.h, c.netns, "eth0")[0], "link/ether ")
	return strings.Fields(rest)[0]
}

// index is that of the container's eth0.
func index(c *container) string {
	number, _, _ := strings.Cut(linksIn(c.h, c.netns, "eth0")[0], ":")
	return number
}
