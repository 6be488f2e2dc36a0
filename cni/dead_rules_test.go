// SPDX-License-Identifier: Apache-2.0

package cni

import (
	"errors"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/swiftcni/swiftcni/internal/fault"
	"github.com/swiftcni/swiftcni/internal/rules"
	"github.com/swiftcni/swiftcni/internal/test/nstest"
	"github.com/swiftcni/swiftcni/nft"
	"golang.org/x/sys/unix"
)

// A port that a dead container has is the next one's who asks for it; a live one's is refused, whatever it looks like.
func TestPortsOfTheDead(t *testing.T) {
	wipe := func(t *testing.T, p *pair) {
		if err := os.RemoveAll(p.network.conf.IPAM.DataDir); err != nil {
			t.Fatal(err)
		}
	}
	for _, c := range []struct {
		name   string
		change func(*testing.T, *pair)
		lives  bool // so does the dead one, for all that's known
	}{
		{name: "its namespace has vanished", change: func(*testing.T, *pair) {}},
		{name: "the leases are gone, too", change: wipe},
		{name: "after a boot with a restored ruleset", change: func(t *testing.T, p *pair) { wipe(t, p); mountBootID(t, otherBoot) }},
		{name: "the live one's link was moved", change: func(t *testing.T, p *pair) {
			nstest.Run(t, "", "ip", "link", "set", p.link, "netns", nstest.New(t, "router"))
		}},
		{name: "an older version published, and nobody knows its leases", change: withoutNotes, lives: true},
	} {
		t.Run(c.name, func(t *testing.T) {
			p := newPair(t, "live", "dead")
			c.change(t, p)
			next := attachment(t, "next")
			other := networkNamed(t, "other", strings.NewReplacer("10.9.0.2\"", "10.9.0.9\"", "10.9.0.3\"", "10.9.0.9\"").Replace(twoAddresses))
			res, err := Attach(t.Context(), other, next)
			if err != nil {
				t.Fatal(err)
			}
			defer Detach(t.Context(), other, next)
			defer rules.End(other.told.Owner(next), nil)
			if err := publishFor(t, other, next, res, 8080); fault.Of(err).Code != CodePortTaken {
				t.Errorf("the live one's port: %v", err)
			}
			err = publishFor(t, other, next, res, 8081)
			if left := rulesOf(t, p.network.told.Owner(p.dead)); (err == nil) == c.lives || (left == nil) == c.lives {
				t.Errorf("the dead one's port: %v; it has %v", err, left)
			}
		})
	}
}

// withoutNotes publishes both ports as an older version did.
func withoutNotes(t *testing.T, p *pair) {
	t.Helper()
	conn, err := nft.Dial()
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	for i, a := range []Attachment{p.live, p.dead} {
		addr := netip.MustParsePrefix(fmt.Sprintf("10.9.0.%d/24", 2+i))
		_, err := conn.Publish(nft.Publication{Owner: p.network.told.Owner(a), Addrs: []netip.Prefix{addr}, Hairpin: true,
			Ports: []nft.PortMapping{{Protocol: nft.TCP, HostPort: uint16(8080 + i), ContainerPort: 80}}})
		if err != nil {
			t.Fatal(err)
		}
	}
}

// The default directory's record proves what an older version published.
func TestPortOfTheDeadByItsRecord(t *testing.T) {
	if err := unix.Mount("tmpfs", "/var/lib", "tmpfs", 0, ""); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := unix.Unmount("/var/lib", unix.MNT_DETACH); err != nil {
			t.Error(err)
		}
	})
	p := newPairWith(t, strings.Replace(twoAddresses, `"dataDir": "DIR",`, "", 1), "live", "dead")
	withoutNotes(t, p)
	for port, want := range map[int]uint{8080: CodePortTaken, 8081: 0} {
		a := attachment(t, "next")
		err := publishFor(t, p.network, a, &Result{CNIVersion: "1.1.0", IPs: []IP{{Address: netip.MustParsePrefix("10.9.0.9/24"), Interface: NoInterface}}}, port)
		if err == nil && want != 0 || err != nil && fault.Of(err).Code != want {
			t.Errorf("port %d: %v", port, err)
		}
		if err := rules.End(p.network.told.Owner(a), nil); err != nil {
			t.Error(err)
		}
	}
}

// Nothing leads to a container for an owner who had its address before, however that one lost it.
func TestNothingLeadsToTheNextHolder(t *testing.T) {
	lease := func(p *pair) string {
		return filepath.Join(p.network.conf.IPAM.DataDir, p.network.conf.Name, "10.9.0.3")
	}
	remove := func(t *testing.T, path string) {
		t.Helper()
		if err := os.RemoveAll(path); err != nil {
			t.Fatal(err)
		}
	}
	attach := func(t *testing.T, p *pair) { attachNext(t, p, p.network) }
	for _, c := range []struct {
		name string
		lose func(*testing.T, *pair)
		next func(*testing.T, *pair)
	}{
		{"its lease was removed by hand", func(t *testing.T, p *pair) { remove(t, lease(p)) }, attach},
		{"all leases were", func(t *testing.T, p *pair) { remove(t, p.network.conf.IPAM.DataDir) }, attach},
		{"the range is full", func(*testing.T, *pair) {}, attach},
		{"it was detached when portmap and firewall weren't in the list any more", func(t *testing.T, p *pair) {
			if err := Detach(t.Context(), p.network, p.dead); err != nil {
				t.Fatal(err)
			}
		}, attach},
		{"so it was without its lease", func(t *testing.T, p *pair) {
			remove(t, lease(p))
			if err := Detach(t.Context(), p.network, p.dead); err != nil {
				t.Fatal(err)
			}
		}, attach},
		{"GC came with a list, and they weren't in ours", func(t *testing.T, p *pair) {
			if err := GC(t.Context(), p.network, []Attachment{p.live}); err != nil {
				t.Fatal(err)
			}
		}, attach},
		{"another network has its subnet by now", func(*testing.T, *pair) {}, func(t *testing.T, p *pair) {
			attachNext(t, p, networkNamed(t, "later", strings.Replace(twoAddresses, "10.9.0.2\"", "10.9.0.3\"", 1)))
		}},
		{"static", func(*testing.T, *pair) {}, func(t *testing.T, p *pair) {
			attachNext(t, p, network(t, `"ipam": { "type": "static", "addresses": [ { "address": "10.9.0.3/24" } ] }`))
		}},
		{"attached with others", func(t *testing.T, p *pair) { remove(t, lease(p)) }, func(t *testing.T, p *pair) {
			a := attachment(t, "next")
			for _, o := range AttachAll(t.Context(), p.network, []Attachment{a}) {
				if o.Err != nil || o.Result.IPs[0].Address.String() != "10.9.0.3/24" {
					t.Errorf("got %v, %v", o.Result, o.Err)
				}
			}
		}},
	} {
		t.Run(c.name, func(t *testing.T) {
			p := newPair(t, "live", "dead")
			live := rulesOf(t, p.network.told.Owner(p.live))
			c.lose(t, p)
			c.next(t, p)
			if left := rulesOf(t, p.network.told.Owner(p.dead)); left != nil {
				t.Errorf("the dead one has %v", left)
			}
			if got := rulesOf(t, p.network.told.Owner(p.live)); fmt.Sprint(got) != fmt.Sprint(live) {
				t.Errorf("the live one had %v and has %v", live, got)
			}
		})
	}
}

// attachNext attaches a container until one gets the dead one's address.
func attachNext(t *testing.T, p *pair, n *Network) {
	t.Helper()
	for i := range 2 {
		a := attachment(t, fmt.Sprint("next", i))
		res, err := Attach(t.Context(), n, a)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() {
			if err := Detach(t.Context(), n, a); err != nil {
				t.Error(err)
			}
		})
		if res.IPs[0].Address.Addr().String() == "10.9.0.3" {
			return
		}
	}
	t.Fatal("nobody got the address")
}

// After a boot the dead are reclaimed with what a restored ruleset has of them.
func TestRestoredRulesetOfTheDead(t *testing.T) {
	unmount := mountBootID(t, otherBoot)
	p := newPair(t, "live", "dead")
	live := p.has(t, p.live)
	unmount()
	attachNext(t, p, p.network)
	if left := rulesOf(t, p.network.told.Owner(p.dead)); left != nil {
		t.Errorf("the dead one has %v", left)
	}
	if got := p.has(t, p.live); got != live {
		t.Errorf("the live one had %s and has %s", live, got)
	}
}

// GC without a list ends elements of the dead whose leases are gone.
func TestGCEndsRulesWithoutLeases(t *testing.T) {
	p := newPair(t, "live", "dead")
	live := rulesOf(t, p.network.told.Owner(p.live))
	if err := os.RemoveAll(p.network.conf.IPAM.DataDir); err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(Reclaim(t.Context(), p.network), portmapRoom.reclaim(t.Context(), p.network)); err != nil {
		t.Fatal(err)
	}
	if left := rulesOf(t, p.network.told.Owner(p.dead)); left != nil {
		t.Errorf("the dead one has %v", left)
	}
	if got := rulesOf(t, p.network.told.Owner(p.live)); fmt.Sprint(got) != fmt.Sprint(live) {
		t.Errorf("the live one had %v and has %v", live, got)
	}
}
