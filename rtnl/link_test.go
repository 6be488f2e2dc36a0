// SPDX-License-Identifier: Apache-2.0

package rtnl

import (
	"net/netip"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/swiftcni/swiftcni/internal/test/nstest"
)

// TestPortFlagsInTheBatchOfTheLink sets flags of a port by the index that the same batch chose for
// it.
func TestPortFlagsInTheBatchOfTheLink(t *testing.T) {
	host, container := newSide(t, "host"), newSide(t, "container")
	host.must(t, func(b *Batch) {
		b.Create(Bridge{Link: Link{Index: 10, Name: "cni0", State: Up}})
		b.Create(Veth{
			Link: Link{Index: 20, Name: "host0", Master: 10, State: Up},
			Peer: Link{Index: 30, Name: "eth0", NetNS: container.ns},
		})
		b.Set(Port{Link: 20, Hairpin: On, Isolated: On, McastFlood: Off})
	})
	want := Port{Link: 20, Name: "host0", Hairpin: On, Isolated: On, Learning: On, Flood: On, McastFlood: Off}
	if p, err := host.Port("host0"); err != nil || p != want {
		t.Errorf("got %+v %v, want %+v", p, err, want)
	}
	// What's unset is left alone, and what's Off is turned off.
	host.must(t, func(b *Batch) { b.Set(Port{Name: "host0", Hairpin: Off, Learning: Off}) })
	want.Hairpin, want.Learning = Off, Off
	if p, err := host.Port("host0"); err != nil || p != want {
		t.Errorf("got %+v %v, want %+v", p, err, want)
	}
	// A link that's no port has no port flags.
	if e := host.refused(t, func(b *Batch) { b.Set(Port{Name: "cni0", Hairpin: On}) }); e.Errno == 0 {
		t.Error(e)
	}
}

func TestNoLinkLocalAddress(t *testing.T) {
	host, container := newSide(t, "host"), newSide(t, "container")
	host.must(t, func(b *Batch) {
		b.Create(Bridge{Link: Link{Index: 10, Name: "cni0", State: Up}})
		b.Create(Veth{
			Link: Link{Index: 20, Name: "host0", Master: 10, State: Up},
			Peer: Link{Index: 30, Name: "eth0", NetNS: container.ns},
		})
		b.Set(Link{Index: 20, LinkLocal: Off})
	})
	container.must(t, func(b *Batch) { b.Set(Link{Index: 30, State: Up}) })
	if got := collect(t, host.Addrs(20, unix.AF_INET6)); len(got) != 0 {
		t.Errorf("host end has %+v", got)
	}
	got := collect(t, container.Addrs(30, unix.AF_INET6))
	if len(got) != 1 || !got[0].Prefix.Addr().IsLinkLocalUnicast() || got[0].Scope != ScopeLink {
		t.Errorf("container has %+v, want a link-local address", got)
	}
	l, err := host.Link("host0")
	// Linux 5.10 leaves it out of an answer without counters.
	if err != nil || l.LinkLocal == On {
		t.Errorf("link %+v: %v", l, err)
	}
}

func TestSettingsOfALink(t *testing.T) {
	host, container := newSide(t, "host"), newSide(t, "container")
	attach(t, host, container)
	m := mac(t, "02:00:00:00:00:77")
	host.must(t, func(b *Batch) {
		b.Set(Link{Index: 20, State: Down})
		b.Set(Link{Index: 20, Name: "renamed", Alias: "c1/eth0", MAC: m, MTU: 1400, Group: 3, ARPNotify: On, RouteLocalnet: On, Master: NoMaster})
	})
	l, err := host.Link("renamed")
	if err != nil {
		t.Fatal(err)
	}
	if l.Index != 20 || l.Alias != "c1/eth0" || l.MAC.String() != m.String() || l.MTU != 1400 || l.Group != 3 ||
		l.ARPNotify != On || l.RouteLocalnet != On || l.Master != 0 || l.State != Down {
		t.Errorf("got %+v", l)
	}
	for _, key := range []string{"arp_notify", "route_localnet"} {
		if got := strings.TrimSpace(nstest.Run(t, host.ns.Path(), "cat", "/proc/sys/net/ipv4/conf/renamed/"+key)); got != "1" {
			t.Errorf("%s is %s", key, got)
		}
	}
	host.must(t, func(b *Batch) { b.Set(Link{Index: 20, NetNS: container.ns}) })
	if _, err := container.Index("renamed"); err != nil {
		t.Errorf("link wasn't moved: %v", err)
	}
}

func TestBroadcast(t *testing.T) {
	for prefix, want := range map[string]string{
		"10.1.2.3/24": "10.1.2.255", "10.1.2.3/8": "10.255.255.255", "10.1.2.3/30": "10.1.2.3", "10.1.2.3/0": "255.255.255.255",
	} {
		if got := broadcast(netip.MustParsePrefix(prefix)); got != netip.MustParseAddr(want) {
			t.Errorf("broadcast of %s is %v, want %s", prefix, got, want)
		}
	}
}

func TestTxQueueAndAllMulticast(t *testing.T) {
	host, container := newSide(t, "host"), newSide(t, "container")
	attach(t, host, container)
	for _, want := range []Link{
		{TxQueueLen: 77, AllMulticast: On, Promisc: Off},
		{TxQueueLen: NoTxQueue, AllMulticast: Off, Promisc: On},
	} {
		change := want
		change.Name = "host0"
		host.must(t, func(b *Batch) { b.Set(change) })
		got, err := host.Link("host0")
		if err != nil {
			t.Fatal(err)
		}
		if got.TxQueueLen != want.TxQueueLen || got.AllMulticast != want.AllMulticast || got.Promisc != want.Promisc {
			t.Errorf("%+v: got %+v", want, got)
		}
	}
}
