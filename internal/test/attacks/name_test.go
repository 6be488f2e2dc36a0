// SPDX-License-Identifier: Apache-2.0

package attacks

import (
	"crypto/sha512"
	"encoding/binary"
	"fmt"
	"os"
	"slices"
	"strconv"
	"strings"

	"github.com/swiftcni/swiftcni/internal/test/nstest"
)

// nameAttacks choose names that climb, break a line, or look like another's.
func nameAttacks() []attack {
	return []attack{
		{"name/container", badContainerIDs},
		{"name/interface", badIfNames},
		{"name/network", badNetworks},
		{"name/bridge", badBridges},
		{"name/long", longNames},
		{"name/confusable", confusableOwners},
		{"name/networks_confusable", confusableNetworks},
		{"name/same_index", func(h *host) {
			// As package cni derives it: even, of 30 bits above the first 2^24.
			collidingOwners(h, func(sum [64]byte) uint32 { return (1<<24 + binary.BigEndian.Uint32(sum[4:])%(1<<30-1<<24)) &^ 1 })
		}},
	}
}

// climbing are names that no directory may have, or that would end a text that they're written
// into.
func climbing() []string {
	return []string{"..", ".", "../mynet", "a/../b", "/etc/passwd", "a/b", "a\nb", "a\rb", "a b", "%s", "a%nb", "é", "a\u202eb", "a\x01b", "a\x7fb",
		"\xff\xfe", ".hidden", "-x", "_x", "@boot", "#1", "c1:eth0", "c1~0123", `a"b`, `a\b`, "a;b", "$(id)", "`id`", "a,b", "*", "~", " "}
}

func badContainerIDs(h *host) {
	victim := h.attach("victim", nil)
	ns := nstest.New(h, "evil")
	h.unchanged(func() {
		for _, id := range climbing() {
			for _, verb := range []string{"ADD", "CHECK", "DEL"} {
				h.refused(call{verb: verb, id: id, netns: ns}, 4, "invalid characters in containerID")
			}
		}
	})
	victim.whole()
}

// badIfNames: the kernel allows more than a container ID may have. Each name is refused, or serves
// from ADD to DEL.
func badIfNames(h *host) {
	serveIfNames(h, []string{"..", "../x", "a/b", "a\nb", "a b", "%s", "a%nb", "é", "a\u202eb", "a\x01b", "a\x7fb", "\xff\xfe", ".hidden", "-x", "@boot",
		"c1:eth0", "a~b", "$(id)", "*", "~", "#", "all", "default", "0123456789abcdef", "0123456789abcde", "veth00000000", "br0",
		"tunl0", "a\u2028b", "日本語"})
}

func serveIfNames(h *host, names []string) {
	victim := h.attach("victim", nil)
	taken := 0
	for _, keys := range []map[string]any{{"macspoofchk": true}, {"ipMasq": false}} {
		for _, name := range names {
			c := call{verb: "ADD", id: "evil", netns: nstest.New(h, "evil"), ifName: name, conf: h.conf(keys)}
			a := h.run(c)
			if a.status == 0 {
				taken++
			} else if a.code == 0 || a.msg == "" {
				h.Errorf("ADD of %q: %s", name, a)
			}
			c.verb = "DEL"
			if a := h.run(c); a.status != 0 && a.code != 4 {
				h.Errorf("DEL of %q: %s", name, a)
			}
			h.nothingOf("evil")
			if n := len(h.links()); n != 1 || h.Failed() {
				h.Fatalf("%q: %d links are left", name, n)
			}
		}
	}
	if taken == 0 {
		h.Error("no name was taken, so nothing was tried")
	}
	victim.whole()
	victim.del()
}

func badNetworks(h *host) {
	victim := h.attach("victim", nil)
	ns := nstest.New(h, "evil")
	h.unchanged(func() {
		for _, name := range append(climbing(), "a\x00b", "", "mynet/../mynet", "mynet/", strings.Repeat("n", 256)) {
			conf := h.conf(map[string]any{"name": name, "cniVersion": "1.1.0"})
			for _, verb := range []string{"ADD", "CHECK", "DEL", "GC"} {
				if a := h.run(call{verb: verb, id: "evil", netns: ns, conf: conf}); a.status == 0 && verb == "ADD" || a.status != 0 && a.code == 0 {
					h.Errorf("%s of network %.40q: %s", verb, name, a)
				}
			}
		}
	})
	victim.whole()
}

func badBridges(h *host) {
	victim := h.attach("victim", nil)
	setting := func() string {
		text, err := os.ReadFile("/proc/sys/net/ipv6/conf/all/accept_ra")
		h.check(err)
		return string(text)
	}
	before := setting()
	ns := nstest.New(h, "evil")
	for _, name := range []string{"..", ".", "../br0", "br0/x", "/etc", "a/b", "a\nb", "a b", "%s", "br%d", "a:b", "a\x01b", "a\x00b", "a\u2028b", "", "all",
		"default", "lo", "0123456789abcdef"} {
		c := call{verb: "ADD", id: "evil", netns: ns, conf: h.conf(map[string]any{"bridge": name})}
		if a := h.run(c); a.status == 0 || a.code == 0 {
			h.Errorf("ADD to bridge %q: %s", name, a)
		}
	}
	h.nothingOf("evil")
	if all := linksIn(h, h.ns); len(all) != 3 {
		h.Errorf("besides lo, br0 and the victim's: %q", all)
	}
	if after := setting(); after != before {
		h.Errorf("accept_ra of all links was %q and is %q", before, after)
	}
	victim.whole()
}

// longNames: whatever the length, a name is refused or serves from ADD to DEL.
func longNames(h *host) {
	victim := h.attach("victim", nil)
	for _, n := range []int{64, 110, 111, 250, 251, 256, 2994, 3001, 100_000} {
		twins := [2]string{strings.Repeat("a", n-1) + "1", strings.Repeat("a", n-1) + "2"}
		var taken [2]bool
		var ns [2]string
		for i, id := range twins {
			ns[i] = nstest.New(h, "evil")
			a := h.run(call{verb: "ADD", id: id, netns: ns[i]})
			taken[i] = a.status == 0
			if a.status != 0 && a.code == 0 {
				h.Errorf("ADD of %d bytes: %s", n, a)
			}
		}
		for i, id := range twins {
			if a := h.run(call{verb: "DEL", id: id, netns: ns[i]}); taken[i] && a.status != 0 {
				h.Errorf("DEL of %d bytes: %s", n, a)
			}
			want := 2 - i // the victim, and the twin that's still there
			if !taken[1] {
				want = 1
			}
			if got := len(h.links()); got != want {
				h.Errorf("%d bytes: %d links are left, want %d", n, got, want)
			}
		}
		victims := func(line string) bool {
			return strings.Count(line, `comment "`) == strings.Count(line, `comment "mynet/victim/eth0`)
		}
		if left := h.elements(); len(left) == 0 || slices.ContainsFunc(left, func(l string) bool { return !victims(l) }) {
			h.Errorf("%d bytes: left %q", n, left)
		}
	}
	for _, n := range []int{43, 44, 45, 255} {
		ipam := map[string]any{"type": "host-local", "dataDir": h.data, "subnet": "10.98.0.0/24"}
		c := h.attach("c1", map[string]any{"name": strings.Repeat("n", n), "bridge": "br1", "ipam": ipam})
		c.whole()
		c.del()
	}
	victim.whole()
	victim.del()
	h.empty()
}

// confusableOwners: owners that a careless join, split, prefix or suffix would take for one
// another.
func confusableOwners(h *host) {
	owners := [][2]string{{"a", "eth0"}, {"a", "eth01"}, {"a", "eth"}, {"a", "0"}, {"ae", "th0"}, {"a.eth0", "eth0"}, {"a-eth0", "eth0"},
		{"a_", "eth0"}, {"A", "eth0"}, {"a", "ETH0"}, {"a.", "eth0"}, {"a", "eth0~1"}, {"a", "eth0-mynet"}, {"mynet", "a"}, {"0", "a"},
		{strings.Repeat("b", 200), "eth0"}, {strings.Repeat("b", 200) + "c", "eth0"}, {strings.Repeat("b", 199), "eth0"}}
	var live []*container
	for _, o := range owners {
		c := &container{call{verb: "ADD", id: o[0], ifName: o[1], netns: nstest.New(h, "c"), conf: h.conf(nil)}, h, nil}
		c.result = []byte(h.must(c.call).stdout)
		live = append(live, c)
	}
	for len(live) > 0 {
		c := live[0]
		live = live[1:]
		c.verb = "DEL"
		h.must(c.call)
		if links, leases := len(h.links()), strings.Count(strings.Join(h.state(), "\n"), `\r\n`); links != len(live) || leases != len(live) {
			h.Errorf("DEL of %s/%s left %d links and %d leases of %d", c.id, c.ifName, links, leases, len(live))
		}
		if len(live) > 0 {
			live[0].whole()
		}
	}
	h.empty()
}

// confusableNetworks: the same container on networks whose names look like one another's.
func confusableNetworks(h *host) {
	var live []*container
	for i, name := range []string{"n", "n.1", "n-1", "N", "n.c1", "nn", strings.Repeat("n", 60), strings.Repeat("n", 61)} {
		ipam := map[string]any{"type": "host-local", "dataDir": h.data, "subnet": fmt.Sprintf("10.99.%d.0/24", i)}
		live = append(live, h.attach("c1", map[string]any{"name": name, "bridge": fmt.Sprintf("br%d", i), "ipam": ipam}))
	}
	for len(live) > 0 {
		c := live[0]
		live = live[1:]
		gc := c.call
		gc.verb, gc.conf = "GC", []byte(strings.Replace(string(c.conf), `"1.0.0"`, `"1.1.0","cni.dev/valid-attachments":[]`, 1))
		h.must(gc)
		if links := len(h.links()); links != len(live) {
			h.Errorf("GC of %s left %d links of %d", c.conf, links, len(live))
		}
		if len(live) > 0 {
			live[0].whole()
		}
	}
	h.empty()
}

// collidingOwners finds two containers for which what names are derived from agrees, by trying some
// 100,000 IDs, as anybody who may choose IDs can. Both must be attachable, in any order, and the
// end of one spares the other.
func collidingOwners(h *host, part func([64]byte) uint32) {
	first, second := collision(part)
	for _, ids := range [][2]string{{first, second}, {second, first}} {
		victim := h.attach(ids[0], nil)
		// A DEL for the other one before it was ever attached, as after an ADD that failed.
		h.must(call{verb: "DEL", id: ids[1]})
		victim.whole()
		other := call{verb: "ADD", id: ids[1], netns: nstest.New(h, "c")}
		h.must(other)
		victim.whole()
		other.verb = "DEL"
		h.must(other)
		victim.whole()
		// Once more, with nothing but the kernel to ask.
		other.verb = "ADD"
		h.must(other)
		h.check(os.RemoveAll(h.data))
		other.verb = "DEL"
		h.must(other)
		victim.reaches()
		victim.verb = "DEL"
		h.must(victim.call)
		h.empty()
	}
}

func collision(part func([64]byte) uint32) (first, second string) {
	seen := map[uint32]string{}
	for i := 0; ; i++ {
		id := "c" + strconv.Itoa(i)
		key := part(sha512.Sum512([]byte("mynet\x00" + id + "\x00eth0\x000")))
		if other, ok := seen[key]; ok {
			return other, id
		}
		seen[key] = id
	}
}
