// SPDX-License-Identifier: Apache-2.0

package sockets

import (
	"encoding/binary"
	"os"
	"sync"
	"testing"
	"time"

	"github.com/swiftcni/swiftcni/internal/test/nstest"
	"github.com/swiftcni/swiftcni/nft"
	"github.com/swiftcni/swiftcni/rtnl"
	"golang.org/x/sys/unix"
)

func TestMain(m *testing.M) { nstest.Main(m) }

// borrow begins a call.
func borrow(t *testing.T, p *Pool) *Loan {
	t.Helper()
	l := p.Borrow()
	if l == nil {
		t.Fatal("nothing is lent")
	}
	return l
}

// use makes a call that takes a socket of each kind.
func use(t *testing.T, p *Pool, good bool) (*rtnl.Conn, *nft.Conn) {
	t.Helper()
	l := borrow(t, p)
	route, err := l.Route()
	if err != nil {
		t.Fatal(err)
	}
	if _, err := route.LinkByIndex(1); err != nil {
		t.Error(err)
	}
	rules, err := l.Rules()
	if err != nil {
		t.Fatal(err)
	}
	if _, err := rules.Empty(); err != nil {
		t.Error(err)
	}
	flows, err := l.Flows()
	if err != nil {
		t.Fatal(err)
	}
	l.LeaveRoute(route)
	l.LeaveRules(rules)
	l.LeaveFlows(flows)
	l.Return(good)
	return route, rules
}

// open counts the descriptors of the process, those of Go's poller among them, which a pipe starts.
func open(t *testing.T) int {
	t.Helper()
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	r.Close()
	w.Close()
	list, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		t.Fatal(err)
	}
	return len(list)
}

// The sockets of a call that has failed, or was cancelled, aren't those of the next.
func TestGoodCallsAlone(t *testing.T) {
	nstest.Kernel(t)
	var p Pool
	before := open(t)
	route, rules := use(t, &p, true)
	if r, u := use(t, &p, false); r != route || u != rules {
		t.Error("the sockets of a good call aren't used again")
	}
	if r, u := use(t, &p, true); r == route || u == rules {
		t.Error("the sockets of a bad call are used again")
	}
	p.Close()
	if now := open(t); now != before {
		t.Errorf("%d descriptors, before %d", now, before)
	}
	if p.Borrow() != nil {
		t.Error("a closed pool lends")
	}
}

// An answer that nobody has read isn't the next call's.
func TestUnreadAnswer(t *testing.T) {
	nstest.Kernel(t)
	var p Pool
	defer p.Close()
	_, rules := use(t, &p, true)
	// NFT_MSG_GETGEN of nftables, whose answer stays.
	order := binary.NativeEndian
	question := order.AppendUint16(order.AppendUint16(order.AppendUint32(nil, 20), 0x0a10), unix.NLM_F_REQUEST)
	question = append(order.AppendUint32(question, 7), make([]byte, 8)...)
	if err := unix.Send(rules.FD(), question, 0); err != nil {
		t.Fatal(err)
	}
	if _, again := use(t, &p, true); again == rules {
		t.Error("a socket with an unread answer is used again")
	}
}

// A socket at which something failed isn't used again, though its call succeeded.
func TestFailedSocket(t *testing.T) {
	nstest.Kernel(t)
	var p Pool
	defer p.Close()
	l := borrow(t, &p)
	route, err := l.Route()
	if err != nil {
		t.Fatal(err)
	}
	link := rtnl.Veth{Link: rtnl.Link{Name: "in0"}, Peer: rtnl.Link{Name: "in1"}}
	var b rtnl.Batch
	b.Create(link)
	if err := route.Do(&b); err != nil {
		t.Fatal(err)
	}
	index, err := route.Index("in0")
	if err != nil {
		t.Fatal(err)
	}
	if err := route.WaitUp(index, 20*time.Millisecond); err == nil {
		t.Error("a link that is down is up")
	}
	l.LeaveRoute(route)
	l.Return(true)
	if r, _ := use(t, &p, true); r == route {
		t.Error("a socket whose receive timed out is used again")
	}
}

// A socket that removed a link comes back when the kernel has done it, with nothing unread.
func TestRemovalsSocketComesBack(t *testing.T) {
	nstest.Kernel(t)
	var p Pool
	defer p.Close()
	l := borrow(t, &p)
	route, err := l.Route()
	if err != nil {
		t.Fatal(err)
	}
	var b rtnl.Batch
	b.Create(rtnl.Veth{Link: rtnl.Link{Name: "out0"}, Peer: rtnl.Link{Name: "out1"}})
	if err := route.Do(&b); err != nil {
		t.Fatal(err)
	}
	index, err := route.Index("out0")
	if err != nil {
		t.Fatal(err)
	}
	if err := route.Remove(t.Context(), index); err != nil {
		t.Fatal(err)
	}
	l.LeaveRoute(route)
	l.Return(true)
	p.away.Wait()
	if r, _ := use(t, &p, true); r != route {
		t.Error("the socket isn't back")
	}
}

// A pool lends in its own namespace alone.
func TestOneNamespace(t *testing.T) {
	elsewhere := nstest.New(t, "elsewhere")
	var p Pool
	defer p.Close()
	use(t, &p, true)
	nstest.In(t, elsewhere, func() {
		if p.Borrow() != nil {
			t.Error("lent in another namespace")
		}
	})
	l := borrow(t, &p)
	id, _ := l.Home()
	l.Return(true)
	if now, err := rtnl.CurrentNetNSID(); err != nil || id != now {
		t.Errorf("home is %v, and this is %v, %v", id, now, err)
	}
}

// However many calls run at once, few sockets stay.
func TestBounded(t *testing.T) {
	nstest.Kernel(t)
	before := open(t)
	p, err := NewFixed()
	if err != nil {
		t.Fatal(err)
	}
	var loans []*Loan
	for range 2 * most {
		l := borrow(t, p)
		route, err := l.Route()
		if err != nil {
			t.Fatal(err)
		}
		rules, err := l.Rules()
		if err != nil {
			t.Fatal(err)
		}
		l.LeaveRoute(route)
		l.LeaveRules(rules)
		loans = append(loans, l)
	}
	for _, l := range loans {
		l.Return(true)
	}
	p.sweep()
	if now := open(t); now != before+1+2*most {
		t.Errorf("%d descriptors, before %d", now, before)
	}
	p.Close()
	if now := open(t); now != before {
		t.Errorf("%d descriptors after Close, before %d", now, before)
	}
}

// A pool that's closed while calls run keeps nothing of them, and their namespace until they end.
func TestCloseDuringCalls(t *testing.T) {
	var p Pool
	before := open(t)
	var begun, ended sync.WaitGroup
	begun.Add(8)
	closed := make(chan bool)
	for range 8 {
		ended.Go(func() {
			l := p.Borrow()
			route, err := l.Route()
			if err != nil {
				t.Error(err)
			}
			begun.Done()
			<-closed
			if _, fd := l.Home(); unix.Fstat(fd, new(unix.Stat_t)) != nil {
				t.Error("the call's namespace is closed")
			}
			l.LeaveRoute(route)
			l.Return(true)
		})
	}
	begun.Wait()
	p.Close()
	close(closed)
	ended.Wait()
	if now := open(t); now != before {
		t.Errorf("%d descriptors, before %d", now, before)
	}
}
