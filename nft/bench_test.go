// SPDX-License-Identifier: Apache-2.0

package nft

import (
	"fmt"
	"net/netip"
	"testing"

	"github.com/swiftcni/swiftcni/internal/test/nstest"
)

// many returns an attachment of its own for each number.
func many(i int) Sender {
	a := netip.AddrFrom4([4]byte{10, byte(16 + i>>16), byte(i >> 8), byte(i)})
	return Sender{Owner: Owner{"mynet", fmt.Sprint("c", i), "eth0"}, Masquerade: []netip.Prefix{netip.PrefixFrom(a, 8)}}
}

// fill attaches n in big transactions.
func fill(tb testing.TB, c *Conn, n int) {
	tb.Helper()
	must(tb, c.Attach(many(0)))
	for from := 1; from < n; from += 1000 {
		var b batch
		for i := from; i < min(n, from+1000); i++ {
			b.create(many(i).elements())
		}
		must(tb, c.commit(&b, nil))
	}
}

// One that comes when n are there: the time shouldn't depend on n.
func BenchmarkAttach(b *testing.B) {
	for _, n := range []int{1, 1000, 10000} {
		ns := nstest.New(b, "host")
		c := dial(b, ns)
		fill(b, c, n)
		one := many(n + 1)
		b.Run(fmt.Sprintf("Attach/%d", n), func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				must(b, c.Attach(one))
				b.StopTimer()
				must(b, c.Detach(one))
				b.StartTimer()
			}
		})
		must(b, c.Attach(one))
		b.Run(fmt.Sprintf("Again/%d", n), func(b *testing.B) {
			for b.Loop() {
				must(b, c.Attach(one))
			}
		})
		owners := []Sender{one, one}
		owners[0].Owner.ContainerID = "other"
		b.Run(fmt.Sprintf("Replace/%d", n), func(b *testing.B) {
			for i := 0; b.Loop(); i++ {
				must(b, c.Attach(owners[i%2]))
			}
		})
		must(b, c.Attach(one))
		b.Run(fmt.Sprintf("Detach/%d", n), func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				b.StopTimer()
				must(b, c.Attach(one))
				b.StartTimer()
				must(b, c.Detach(one))
			}
		})
		b.Run(fmt.Sprintf("DetachNothing/%d", n), func(b *testing.B) {
			for b.Loop() {
				must(b, c.Detach(one))
			}
		})
		b.Run(fmt.Sprintf("DetachOwner/%d", n), func(b *testing.B) {
			for b.Loop() {
				must(b, c.DetachOwner(one.Owner))
			}
		})
		must(b, c.Attach(one))
		b.Run(fmt.Sprintf("Check/%d", n), func(b *testing.B) {
			for b.Loop() {
				must(b, c.CheckSender(one))
			}
		})
	}
}

func BenchmarkEncode(b *testing.B) {
	es := many(1).elements()
	b.ReportAllocs()
	for b.Loop() {
		var x batch
		x.create(es)
		if len(x.messages()) != 2 {
			b.Fatal("not a message for each set")
		}
	}
}

// With 10,000 elements an Attach is the same messages as with none, and all of a network goes in
// one call.
func TestTenThousandAttachments(t *testing.T) {
	ns := nstest.New(t, "host")
	c := dial(t, ns)
	const n = 10000
	fill(t, c, n)
	one := many(n + 1)
	if got := messages(c, func() { must(t, c.Attach(one)) }); got != 4 {
		t.Errorf("Attach sent %d messages, want 4", got)
	}
	must(t, c.CheckSender(one))
	if got := len(collect(t, c, "mynet")); got != n+1 {
		t.Errorf("got %d attachments, want %d", got, n+1)
	}
	must(t, c.DetachExcept("mynet", []Owner{one.Owner}))
	if got := collect(t, c, "mynet"); len(got) != 1 || got[0].Owner != one.Owner {
		t.Errorf("after DetachExcept of all but one: got %d attachments", len(got))
	}
}
