// SPDX-License-Identifier: Apache-2.0

package rtnl

import (
	"errors"
	"io/fs"
	"net/netip"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/swiftcni/swiftcni/internal/test/nstest"
)

// shaped makes a pair of links, eth0 in the container and host0 on the host, whose traffic to the
// container a tbf shapes, and from it the tbf of an ifb.
func shaped(t *testing.T, to, from TBF) (host, container side) {
	host, container = newSide(t, "host"), newSide(t, "container")
	host.must(t, func(b *Batch) {
		b.Create(Veth{Link: Link{Index: 20, Name: "host0", State: Up, Queues: 1}, Peer: Link{Index: 30, Name: "eth0", NetNS: container.ns, Queues: 1}})
		b.Create(Addr{Link: 20, Prefix: netip.MustParsePrefix("10.1.0.1/24")})
		b.Create(Link{Kind: "ifb", Index: 40, Name: "ifb9"})
		from.Link, to.Link = 40, 20
		b.Create(from)
		b.Set(Link{Index: 40, State: Up})
		b.Create(to)
		b.Create(Ingress{Link: 20})
		b.Create(Redirect{Link: 20, To: 40})
	})
	container.must(t, func(b *Batch) {
		b.Create(Addr{Link: 30, Prefix: netip.MustParsePrefix("10.1.0.2/24")})
		b.Set(Link{Index: 30, State: Up})
	})
	return host, container
}

// Packets of both directions pass the discipline that's theirs, and what doesn't fit into its queue
// is dropped.
func TestTBFShapes(t *testing.T) {
	slow := TBF{Rate: 1000, Buffer: 2 * time.Second, Limit: 2000} // 2000 bytes, and as many may wait
	fast := TBF{Rate: 1e9, Buffer: time.Second, Limit: 1 << 30}
	for _, test := range []struct {
		name     string
		to, from TBF
		dropper  string
	}{{"to the container", slow, fast, "host0"}, {"from the container", fast, slow, "ifb9"}} {
		t.Run(test.name, func(t *testing.T) {
			host, container := shaped(t, test.to, test.from)
			nstest.Run(t, container.ns.Path(), "ping", "-c1", "-W60", "10.1.0.1")
			// Of the first 20,000 bytes a tenth passes, as much waits, and the rest is dropped,
			// however slow the machine: it would take 16 s until all had passed, and ping waits one
			// for the last.
			cmd := nstest.Command(container.ns.Path(), "ping", "-c20", "-i0.001", "-W1", "-s", "958", "10.1.0.1")
			out, _ := cmd.CombinedOutput()
			if !strings.Contains(string(out), "packets transmitted") || strings.Contains(string(out), " 0% packet loss") {
				t.Errorf("nothing was dropped:\n%s", out)
			}
			for _, link := range []string{"host0", "ifb9"} {
				stats := nstest.Run(t, host.ns.Path(), "tc", "-s", "qdisc", "show", "dev", link, "root")
				if dropped := !strings.Contains(stats, "dropped 0,"); dropped != (link == test.dropper) || strings.Contains(stats, "Sent 0 bytes") {
					t.Errorf("%s:\n%s", link, stats)
				}
			}
		})
	}
}

// The filter is read back as it was set, and tc shows it in the same way.
func TestTBFReadBack(t *testing.T) {
	want := TBF{Link: 20, Rate: 125_000_000, Buffer: 80 * time.Millisecond, Limit: 13_125_000}
	host, _ := shaped(t, want, TBF{Rate: 5 << 30, Buffer: time.Millisecond, Limit: 1 << 20})
	if got, err := host.TBF(20); err != nil || got != want {
		t.Errorf("got %+v, %v", got, err)
	}
	if got, err := host.TBF(40); err != nil || got.Rate != 5<<30 {
		t.Errorf("a rate of more than 32 bits came back as %+v, %v", got, err)
	}
	if out := nstest.Run(t, host.ns.Path(), "tc", "qdisc", "show", "dev", "host0"); !strings.Contains(out, "qdisc tbf 1: root refcnt 2 rate 1Gbit burst 10000000b lat 25ms") ||
		!strings.Contains(out, "qdisc ingress ffff:") {
		t.Error(out)
	}
	if out := nstest.Run(t, host.ns.Path(), "tc", "filter", "show", "dev", "host0", "ingress"); !strings.Contains(out, "match 00000000/00000000 at 0") ||
		!strings.Contains(out, "mirred (Egress Redirect to device ifb9)") {
		t.Error(out)
	}
	for link, want := range map[int]int{20: 1, 40: 0, 1: 0} {
		n := 0
		for r, err := range host.Redirects(link) {
			if n++; err != nil || r != (Redirect{Link: 20, To: 40}) {
				t.Errorf("of %d: %+v, %v", link, r, err)
			}
		}
		if n != want {
			t.Errorf("%d redirections of link %d, want %d", n, link, want)
		}
	}
	host.must(t, func(b *Batch) { b.Set(TBF{Link: 20, Rate: 1000, Burst: 1 << 29, Limit: 1}) })
	if got, err := host.TBF(20); err != nil || got.Rate != 1000 {
		t.Errorf("with a bucket of 500,000 s: %+v, %v", got, err)
	}
}

func TestQdiscRefusals(t *testing.T) {
	host, _ := shaped(t, TBF{Rate: 1000, Buffer: time.Second, Limit: 1}, TBF{Rate: 1000, Buffer: time.Second, Limit: 1})
	for _, test := range []struct {
		fill func(b *Batch)
		is   error
		text string
	}{
		{func(b *Batch) { b.Create(TBF{Link: 20, Rate: 1, Buffer: BufferStep, Limit: 1}) }, fs.ErrExist, "create tbf dev 20 rate 1B/s buffer 64ns limit 1"},
		{func(b *Batch) { b.Create(Ingress{Link: 20}) }, fs.ErrExist, "create ingress dev 20"},
		{func(b *Batch) { b.Delete(Ingress{Link: 40}) }, fs.ErrNotExist, "delete ingress dev 40"},
		{func(b *Batch) { b.Create(TBF{Link: 77, Rate: 1000, Buffer: BufferStep}) }, fs.ErrNotExist, ""},
		{func(b *Batch) { b.Create(TBF{Link: 40, Buffer: BufferStep}) }, syscall.EINVAL, "a tbf needs a rate"},
		{func(b *Batch) { b.Create(TBF{Link: 40, Rate: 1000, Buffer: MaxBuffer + BufferStep}) }, syscall.EINVAL, "at most 275 s"},
		{func(b *Batch) { b.Create(Redirect{Link: 40, To: 20}) }, syscall.EINVAL, "create redirect dev 40 to 20"},
	} {
		if err := host.refused(t, test.fill); !errors.Is(err, test.is) || !strings.Contains(err.Error(), test.text) {
			t.Errorf("got %v, want %v and %q", err, test.is, test.text)
		}
	}
	var b Batch
	b.Set(Ingress{Link: 20})
	if err := host.Do(&b); !errors.Is(err, errors.ErrUnsupported) {
		t.Error("set of an ingress:", err)
	}
	if _, err := host.TBF(1); !errors.Is(err, ErrNotTBF) {
		t.Error("lo:", err)
	}
	// A root that isn't a tbf of ours stays.
	nstest.Run(t, host.ns.Path(), "tc", "qdisc", "replace", "dev", "host0", "root", "handle", "5:", "tbf", "rate", "1mbit", "burst", "10kb", "limit", "10kb")
	host.refused(t, func(b *Batch) { b.Delete(TBF{Link: 20}) })
	if out := nstest.Run(t, host.ns.Path(), "tc", "qdisc", "show", "dev", "host0", "root"); !strings.Contains(out, "tbf 5:") {
		t.Error(out)
	}
}

func TestRules(t *testing.T) {
	s := newSide(t, "host")
	four, six := netip.MustParsePrefix("10.1.0.7/32"), netip.MustParsePrefix("fd01::7/128")
	s.must(t, func(b *Batch) {
		b.Create(Rule{Src: four, Table: 100, Protocol: 77})
		b.Create(Rule{Src: six, Table: 1000})
	})
	nstest.Run(t, s.ns.Path(), "ip", "rule", "add", "from", "10.1.0.7", "fwmark", "3", "lookup", "101")
	nstest.Run(t, s.ns.Path(), "ip", "rule", "add", "from", "10.1.0.8", "unreachable")
	var got []RuleState
	for r, err := range s.Rules(0) {
		if err != nil {
			t.Fatal(err)
		}
		if r.Src.Bits() > 0 {
			r.Priority = 0
			got = append(got, r)
		}
	}
	want := []RuleState{{Rule: Rule{Src: netip.MustParsePrefix("10.1.0.8/32")}}, {Rule: Rule{Src: four, Table: 101}, OtherSelectors: true},
		{Rule: Rule{Src: four, Table: 100, Protocol: 77}}, {Rule: Rule{Src: six, Table: 1000}}}
	if !slices.Equal(got, want) {
		t.Errorf("got  %+v\nwant %+v", got, want)
	}
	same := Rule{Src: four, Table: 100, Priority: 7}
	s.must(t, func(b *Batch) { b.Create(same) })
	if err := s.refused(t, func(b *Batch) { b.Create(same) }); !errors.Is(err, fs.ErrExist) {
		t.Error(err)
	}
	if err := s.refused(t, func(b *Batch) { b.Delete(Rule{Src: four, Table: 100, Protocol: 78}) }); !errors.Is(err, fs.ErrNotExist) {
		t.Error("another's rule:", err)
	}
	s.must(t, func(b *Batch) {
		b.Delete(same)
		b.Delete(Rule{Src: four, Table: 100, Protocol: 77})
		b.Delete(Rule{Src: six})
	})
	if out := nstest.Run(t, s.ns.Path(), "ip", "rule"); strings.Contains(out, "lookup 100") || !strings.Contains(out, "lookup 101") {
		t.Error(out)
	}
	if err := s.refused(t, func(b *Batch) { b.Create(Rule{Src: six}) }); err.Errno != syscall.EINVAL {
		t.Error("without a table:", err)
	}
	for _, bad := range []Rule{{}, {Src: netip.MustParsePrefix("10.1.0.7/24"), Table: 1}} {
		if err := s.refused(t, func(b *Batch) { b.Create(bad) }); !strings.Contains(err.Error(), "source without host bits") {
			t.Error(err)
		}
	}
}

// An int of 32 bits holds neither number.
func TestTBFPrintsLargeNumbers(t *testing.T) {
	var b Batch
	b.Create(TBF{Link: 20, Rate: 5 << 30, Burst: 1 << 31, Limit: 1<<32 - 1})
	if got := b.String(); !strings.Contains(got, "burst 2147483648 limit 4294967295") {
		t.Error(got)
	}
}
