// SPDX-License-Identifier: Apache-2.0

package main

import (
	"encoding/json"
	"net/netip"
	"os"
	"strings"
	"testing"
)

// When ADD returns, the container can be reached at once: both ends are up, so no queue drops the
// first packet and no neighbour has to ask again a second later.
func TestFirstPacket(t *testing.T) {
	t.Parallel()
	w := newWorld(t, t.TempDir())
	for _, name := range []string{"c1", "c2"} {
		if err := w.netns(name); err != nil {
			t.Fatal(err)
		}
	}
	add := func(container string) (link string, addr netip.Addr) {
		a, err := w.run(call{verb: "ADD", container: container, ifName: "eth0", conf: []byte(good)})
		var r struct {
			Interfaces []struct{ Name string }
			IPs        []struct{ Address netip.Prefix }
		}
		if err != nil || a.status != 0 || json.Unmarshal(a.stdout, &r) != nil {
			t.Fatalf("%v: %s", err, a.stdout)
		}
		return r.Interfaces[1].Name, r.IPs[0].Address.Addr()
	}
	add("c1")
	const rounds = 60
	late := map[string]int{}
	for range rounds {
		link, addr := add("c2")
		err := w.do("", func() error {
			state, err := os.ReadFile("/sys/class/net/" + link + "/operstate")
			if s := strings.TrimSpace(string(state)); s != "up" {
				late["host end is "+s]++
			}
			return err
		})
		w.must("c1", "nft", "flush ruleset; add table arp asks; add chain arp asks out { type filter hook output priority 0; }; "+
			"add rule arp asks out arp operation request arp daddr ip "+addr.String()+" counter")
		if err == nil {
			err = w.reach("c1", addr, 60)
		}
		if asks := w.must("c1", "nft", "list", "table", "arp", "asks"); !strings.Contains(asks, "counter packets 1 ") && !strings.Contains(asks, "counter packets 0 ") {
			late["the neighbour asked more than once"]++
		}
		if err != nil {
			t.Error(err)
		}
		if a, err := w.run(call{verb: "DEL", container: "c2", ifName: "eth0", conf: []byte(good)}); err != nil || a.status != 0 {
			t.Fatalf("%v: %s", err, a.stdout)
		}
	}
	for what, n := range late {
		t.Errorf("%s: %d of %d attachments", what, n, rounds)
	}
	w.finish()
}
