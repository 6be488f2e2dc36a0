// SPDX-License-Identifier: Apache-2.0

package rtnl

import (
	"encoding/binary"
	"slices"
	"testing"

	"golang.org/x/sys/unix"
)

// vlanWorld makes a filtering bridge br1 (40) with a port p1 (41). Where the kernel was built
// without VLAN filtering it asserts what such a kernel says, and returns false.
func vlanWorld(t *testing.T) (side, bool) {
	t.Helper()
	host := newSide(t, "host")
	var b Batch
	b.Create(Bridge{Link: Link{Index: 40, Name: "br1", State: Up}, VLANFiltering: On})
	b.Create(Veth{Link: Link{Index: 41, Name: "p1", Master: 40, State: Up, Queues: 1}, Peer: Link{Index: 42, Name: "q1"}})
	err := host.Do(&b)
	if err == nil {
		return host, true
	}
	refused, _ := err.(Refused)
	if len(refused) == 0 || refused[0].Step != 0 || refused[0].Errno != unix.EOPNOTSUPP {
		t.Errorf("a kernel without VLAN filtering says %v, want EOPNOTSUPP of step 0", err)
	}
	if want := "create bridge br1 index 40 up vlan_filtering on"; len(refused) > 0 && refused[0].Change != want {
		t.Errorf("refused change is %q, want %q", refused[0].Change, want)
	}
	for v, err := range host.VLANs(41) {
		if err == nil {
			t.Errorf("a kernel without VLAN filtering lists %+v", v)
		}
	}
	return host, false
}

// vlans lists a port's VLANs.
func vlans(t *testing.T, s side, port int) []PortVLAN {
	t.Helper()
	var all []PortVLAN
	for v, err := range s.VLANs(port) {
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, v)
	}
	if older := collect(t, s.linkVLANs(port)); !slices.Equal(older, all) {
		t.Errorf("as before Linux 5.6: %+v, want %+v", older, all)
	}
	return all
}

func TestPortVLANs(t *testing.T) {
	host, ok := vlanWorld(t)
	if !ok {
		e := host.refused(t, func(b *Batch) { b.Create(PortVLAN{Link: 41, VID: 100}) })
		if e.Step != 0 || e.Errno == 0 {
			t.Errorf("got %v", e)
		}
		return
	}
	g, err := host.Bridge("br1")
	if err != nil || g.VLANFiltering != On {
		t.Errorf("bridge %+v: %v", g, err)
	}
	want := []PortVLAN{{Link: 41, VID: 1, PVID: true, Untagged: true}}
	if got := vlans(t, host, 41); !slices.Equal(got, want) {
		t.Errorf("a new port has %+v, want %+v", got, want)
	}
	host.must(t, func(b *Batch) {
		b.Delete(PortVLAN{Link: 41, VID: 1, Last: 4094})
		b.Create(PortVLAN{Link: 41, VID: 100, PVID: true, Untagged: true})
		b.Create(PortVLAN{Link: 41, VID: 200, Last: 209})
	})
	want = []PortVLAN{{Link: 41, VID: 100, PVID: true, Untagged: true}, {Link: 41, VID: 200, Last: 209}}
	if got := vlans(t, host, 41); !slices.Equal(got, want) {
		t.Errorf("got %+v, want %+v", got, want)
	}
	host.must(t, func(b *Batch) { b.Delete(PortVLAN{Link: 41, VID: 203}) })
	want = []PortVLAN{want[0], {Link: 41, VID: 200, Last: 202}, {Link: 41, VID: 204, Last: 209}}
	if got := vlans(t, host, 41); !slices.Equal(got, want) {
		t.Errorf("got %+v, want %+v", got, want)
	}
	host.must(t, func(b *Batch) { b.Set(Bridge{Link: Link{Name: "br1"}, VLANFiltering: Off}) })
	if g, err := host.Bridge("br1"); err != nil || g.VLANFiltering != Off {
		t.Errorf("bridge %+v: %v", g, err)
	}
}

func TestVLANsOfThePortsFDB(t *testing.T) {
	host, ok := vlanWorld(t)
	if !ok {
		return
	}
	m := mac(t, "02:00:00:00:00:09")
	host.must(t, func(b *Batch) { b.Create(Neigh{Link: 41, MAC: m, VLAN: 1}) })
	found := false
	for n, err := range host.FDB(41) {
		if err != nil {
			t.Fatal(err)
		}
		found = found || n.MAC.String() == m.String() && n.VLAN == 1 && n.State == NeighNoARP
	}
	if !found {
		t.Error("entry of a VLAN isn't listed")
	}
}

// TestPortVLANBytes compares bytes that are iproute2's own, but for flags and sequence: those that
// "bridge vlan add" and "bridge vlan del" send for the same changes. A kernel without VLAN
// filtering can't vouch for them.
func TestPortVLANBytes(t *testing.T) {
	var b Batch
	b.Create(PortVLAN{Link: 41, VID: 100, PVID: true, Untagged: true})
	b.Create(PortVLAN{Link: 41, VID: 200, Last: 209})
	b.Delete(PortVLAN{Link: 41, VID: 1, Last: 4094})
	if b.err != nil {
		t.Fatal(b.err)
	}
	want := "create vlan 100 dev 41 pvid untagged\ncreate vlan 200-209 dev 41\ndelete vlan 1-4094 dev 41\n"
	if got := b.String(); got != want {
		t.Errorf("got\n%swant\n%s", got, want)
	}
	compareGolden(t, "portvlan", annotate(&b))
}

// TestVLANListing decodes a listing as Linux 6.1 sends it: a VLAN alone, then a range.
func TestVLANListing(t *testing.T) {
	var e encoder
	e.fixed(unix.AF_BRIDGE, 0, 0, 0)
	e.fixed32(41)
	entry := e.nest(bridgeVLANDBItem)
	vlanInfo(&e, vlanPVID|vlanUntagged, 100)
	binary.NativeEndian.PutUint16(e.buf[entry+4+2:], vlanDBInfo)
	e.endNest(entry)
	entry = e.nest(bridgeVLANDBItem)
	vlanInfo(&e, 0, 200)
	binary.NativeEndian.PutUint16(e.buf[entry+4+2:], vlanDBInfo)
	e.u16(vlanDBRange, 209)
	e.endNest(entry)
	var got []PortVLAN
	if err := decodeVLANs(e.buf, func(p PortVLAN) { got = append(got, p) }); err != nil {
		t.Fatal(err)
	}
	want := []PortVLAN{{Link: 41, VID: 100, PVID: true, Untagged: true}, {Link: 41, VID: 200, Last: 209}}
	if !slices.Equal(got, want) {
		t.Errorf("got %+v, want %+v", got, want)
	}
}

// TestLinkVLANs decodes the VLANs of a link as Linux before 5.6 tells them: one alone, then the ends of
// a range.
func TestLinkVLANs(t *testing.T) {
	var b Batch
	b.begin(unix.RTM_NEWLINK, 0)
	l := Link{Index: 41}
	l.header(&b, unix.AF_BRIDGE)
	spec := b.enc.nest(unix.IFLA_AF_SPEC)
	vlanInfo(&b.enc, vlanPVID|vlanUntagged, 100)
	vlanInfo(&b.enc, vlanRangeBegin, 200)
	vlanInfo(&b.enc, vlanRangeEnd, 209)
	vlanInfo(&b.enc, 0, 300)
	b.enc.endNest(spec)
	b.end()
	message := b.message(0)[unix.NLMSG_HDRLEN:]
	for port, want := range map[int][]PortVLAN{40: nil, 41: {{Link: 41, VID: 100, PVID: true, Untagged: true}, {Link: 41, VID: 200, Last: 209}, {Link: 41, VID: 300}}} {
		var got []PortVLAN
		if err := decodeLinkVLANs(message, port, func(p PortVLAN) { got = append(got, p) }); err != nil {
			t.Fatal(err)
		}
		if !slices.Equal(got, want) {
			t.Errorf("port %d: got %+v, want %+v", port, got, want)
		}
	}
	if err := decodeLinkVLANs(message[:len(message)-2], 41, func(PortVLAN) {}); err == nil {
		t.Error("a short message is decoded")
	}
}
