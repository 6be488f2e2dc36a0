// SPDX-License-Identifier: Apache-2.0

package attacks

import (
	"os"
	"path/filepath"
	"strings"

	"github.com/swiftcni/swiftcni/internal/test/nstest"
)

// recordAttacks write lies into the sidecar's records, by whoever owns it: DEL and GC believe what
// the kernel says.
func recordAttacks() []attack {
	return []attack{
		{"record/anothers_address", func(h *host) {
			recordOf(h, "evil", func(evil, victim []string) { evil[1] += "," + victim[1] })
		}},
		{"record/of_another_boot", func(h *host) {
			recordOf(h, "evil", func(evil, victim []string) { copy(evil, victim); evil[2] = "another-boot" })
		}},
		{"record/garbage", garbageRecords},
	}
}

func (h *host) record(id string) string { return filepath.Join(h.data, ".swiftcni/mynet", id+":eth0") }

// recordOf has a record rewritten, by fields: version, addresses, boot, namespace, link, index,
// MAC. Then its owner goes, by DEL, by both forms of GC, and the victim of the lie must stay.
func recordOf(h *host, id string, lie func(own, victims []string)) {
	victim := h.attach("victim", nil)
	text, err := os.Readlink(h.record("victim"))
	h.check(err)
	for _, way := range []string{"DEL", "GC", "swiftctl gc"} {
		evil := h.attach("evil", nil)
		own, err := os.Readlink(h.record("evil"))
		h.check(err)
		fields, victims := strings.Split(own, " "), strings.Split(text, " ")
		lie(fields, victims)
		_ = os.Remove(h.record(id))
		h.check(os.Symlink(strings.Join(fields, " "), h.record(id)))
		switch way {
		case "DEL":
			h.must(call{verb: "DEL", id: id, netns: nstest.New(h, "other")})
		case "GC":
			valid := []map[string]string{{"containerID": "victim", "ifname": "eth0"}}
			h.must(call{verb: "GC", conf: h.conf(map[string]any{"cniVersion": "1.1.0", "cni.dev/valid-attachments": valid})})
		default:
			h.program(nil, nil, program("swiftctl"), "gc", "--data-dir", h.data)
		}
		victim.whole()
		for _, id := range []string{"evil", id} {
			h.must(call{verb: "DEL", id: id, netns: evil.netns})
		}
		victim.whole()
		if links := h.links(); len(links) != 1 {
			h.Errorf("after %s: links %q", way, links)
		}
	}
	victim.del()
}

// garbageRecords: what can't be a record, or can't have been written under its name, is none.
func garbageRecords(h *host) {
	victim := h.attach("victim", nil)
	for _, name := range []string{"evil:eth0", "evil", ":", "a:b:c", "#evil", "@evil", "@boot.", "@", ".evil", "victim:eth1"} {
		for _, text := range []string{"x", "1", "1       ", strings.Repeat("1 ", 2000), "1 10.99.0.2 b 1 veth00000000 -5 m", "1 ../../passwd - 0 - 0 -",
			"1 10.99.0.2/99 - 18446744073709551616 - 0 -", `1 10.99.0.2 - 0 - 0 - "victim\r\neth0"`} {
			at := filepath.Join(h.data, ".swiftcni/mynet", name)
			_ = os.Remove(at)
			h.check(os.Symlink(text, at))
			evil := call{verb: "ADD", id: "evil", netns: victim.netns, ifName: "eth1"}
			for _, verb := range []string{"ADD", "DEL"} {
				evil.verb = verb
				h.must(evil)
			}
			h.must(call{verb: "DEL", id: "evil"})
			_ = os.Remove(at)
		}
	}
	victim.whole()
	victim.del()
}
