// SPDX-License-Identifier: Apache-2.0

package nft

import (
	"errors"
	"fmt"
	"net/netip"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/swiftcni/swiftcni/internal/test/nstest"
)

// shapeOf returns which sets and chains there are.
func shapeOf(t testing.TB, ns string) string {
	t.Helper()
	var lines []string
	for line := range strings.Lines(list(t, ns)) {
		if f := strings.Fields(line); len(f) == 3 && (f[0] == "set" || f[0] == "map" || f[0] == "chain") {
			lines = append(lines, f[0]+" "+f[1])
		}
	}
	slices.Sort(lines)
	return strings.Join(lines, "\n")
}

// Each subnet and each address is gone with its last attachment: what is left is what one left.
func TestSubnetsLeaveNothing(t *testing.T) {
	ns := nstest.New(t, "host")
	c := dial(t, ns)
	pair := func(i int) (sent int) {
		subnet := fmt.Sprintf("10.%d.%d.2/24", i>>8, i&0xff)
		a := attachment(fmt.Sprint("c", i), subnet, strings.Replace(subnet, ".2/24", ".3/32", 1), fmt.Sprintf("fd00:%x::2/64", i))
		sent = messages(c, func() { must(t, c.Attach(a)) })
		must(t, c.Detach(a))
		return sent
	}
	pair(0)
	shape, sent := shapeOf(t, ns), pair(1)
	for i := range 2000 {
		if got := pair(i); got != sent {
			t.Fatalf("attachment %d: sent %d messages, the first %d", i, got, sent)
		}
	}
	if got := shapeOf(t, ns); got != shape {
		t.Errorf("after 2,000 subnets: got\n%s\nwant\n%s", got, shape)
	}
	// Nor do those grow in number that are there at once.
	for i := range 1000 {
		must(t, c.Attach(attachment(fmt.Sprint("c", i), fmt.Sprintf("10.%d.%d.2/24", i>>8, i&0xff), fmt.Sprintf("fd00:%x::2/64", i))))
	}
	if got := shapeOf(t, ns); got != shape {
		t.Errorf("with 1,000 subnets: got\n%s\nwant\n%s", got, shape)
	}
	must(t, c.DetachExcept("mynet", nil))
	if got := shapeOf(t, ns); got != "" {
		t.Errorf("after garbage collection: got\n%s\nwant nothing", got)
	}
}

// A set without members goes with the next detachment or build that sees it. One stays: the one
// that was used last. A kernel before 6.16 doesn't say how many members a set has, and a detachment
// doesn't list them: there only a build sees it.
func TestSetsWithoutMembersGo(t *testing.T) {
	ns := nstest.New(t, "host")
	c := dial(t, ns)
	only := func(what string, names ...string) {
		t.Helper()
		if got, want := shapeOf(t, ns), "chain postrouting\nset "+strings.Join(names, "\nset "); got != want {
			t.Errorf("%s: got\n%s\nwant\n%s", what, got, want)
		}
	}
	var as []Sender
	for bits := 20; bits < 28; bits++ {
		as = append(as, attachment(fmt.Sprint("c", bits), fmt.Sprintf("10.%d.0.2/%d", bits, bits)))
	}
	must(t, c.Attach(as...))
	all := []string{"masq4", "own4-20", "own4-21", "own4-22", "own4-23", "own4-24", "own4-25", "own4-26", "own4-27"}
	only("all", all...)
	s, err := c.survey()
	must(t, err)
	for _, a := range as[3:] {
		must(t, c.Detach(a))
	}
	if counted := len(s.members) > 0; counted {
		only("after the last", "masq4", "own4-20", "own4-21", "own4-22", "own4-27")
	} else {
		only("after the last", all...)
	}
	must(t, c.Attach(attachment("c", "10.99.0.2/16")))
	only("after a build", "masq4", "own4-16", "own4-20", "own4-21", "own4-22")
	// The rules of what stays are there, those of what went aren't.
	must(t, errors.Join(c.CheckSender(as[0]), c.CheckSender(as[1]), c.CheckSender(as[2]), c.CheckSender(attachment("c", "10.99.0.2/16"))))
	wants(t, list(t, ns), false, "255.255.255.224")
	must(t, c.DetachExcept("mynet", []Owner{as[1].Owner}))
	only("after garbage collection", "masq4", "own4-21")
}

// A missing element doesn't keep a detachment from removing the others.
func TestDetachTakesWhatIsLeft(t *testing.T) {
	ns := nstest.New(t, "host")
	c := dial(t, ns)
	a := guardedBy(attachment("c1", "10.1.0.2/24", "fd00:1::2/64"), "swc1", "02:00:00:00:00:01")
	for _, command := range []string{
		"delete element inet swiftcni masq4 { 10.1.0.2 }",
		"delete element inet swiftcni own4-24 { 10.1.0.2 . 10.1.0.0 }",
		"delete element inet swiftcni own6-64 { fd00:1::2 . fd00:1:: }",
		"delete element bridge swiftcni allowed { swc1 . 02:00:00:00:00:01 }",
		"delete table bridge swiftcni",
	} {
		must(t, c.Attach(a))
		nstest.Run(t, ns, "nft", command)
		must(t, c.Detach(a))
		wants(t, list(t, ns), false, "c1/eth0")
	}
}

// oldAttachments are what testdata/old_masquerade.nft holds, which an earlier version made.
func oldAttachments() []Sender {
	c3 := attachment("c3", "10.9.8.7/32", "192.168.7.130/25")
	c3.Owner.Network = "other"
	return []Sender{attachment("c1", "10.1.0.2/24", "2001:db8::2/61", "fd00::1/128"), attachment("c2", "10.1.0.3/24"), c3}
}

func load(t testing.TB, ns, name string) {
	t.Helper()
	nstest.Run(t, ns, "nft", "-f", filepath.Join("testdata", name+".nft"))
}

// Whatever changes the rules or looks through all of them takes over what an earlier version made.
func TestEarlierVersionIsTakenOver(t *testing.T) {
	old := oldAttachments()
	for name, do := range map[string]func(c *Conn) error{
		"attach":          func(c *Conn) error { return c.Attach(attachment("c9", "10.1.0.9/24")) },
		"attach again":    func(c *Conn) error { return c.Attach(old[0]) },
		"attach others":   func(c *Conn) error { return c.Attach(attachment("c9", "10.3.0.9/16", "fd09::9/64")) },
		"build":           func(c *Conn) error { return c.Build(Ruleset{Subnets: prefixes("10.1.0.0/24")}) },
		"collect":         func(c *Conn) error { return c.DetachExcept("mynet", []Owner{old[0].Owner, old[1].Owner}) },
		"detach by owner": func(c *Conn) error { return c.DetachOwner(Owner{"mynet", "c9", "eth0"}) },
		"restore":         func(c *Conn) error { return c.Restore(old[:2]) },
	} {
		t.Run(name, func(t *testing.T) {
			ns := nstest.New(t, "host")
			c := dial(t, ns)
			load(t, ns, "old_masquerade")
			for _, a := range old {
				must(t, c.CheckSender(a))
			}
			if got := len(collect(t, c, "")); got != len(old) {
				t.Errorf("listed %d attachments before", got)
			}
			must(t, do(c))
			wants(t, list(t, ns), false, "masq4-", "masq6-")
			for _, a := range old {
				must(t, c.CheckSender(a))
				must(t, c.Detach(a))
				must(t, c.Detach(a))
			}
			wants(t, list(t, ns), false, "c1/eth0", "c2/eth0", "c3/eth0")
		})
	}
}

func TestDetachOfAnEarlierVersionsAttachment(t *testing.T) {
	ns := nstest.New(t, "host")
	c := dial(t, ns)
	load(t, ns, "old_masquerade")
	old := oldAttachments()
	must(t, c.Detach(old[0]))
	must(t, c.Detach(old[0]))
	wants(t, list(t, ns), false, "c1/eth0")
	must(t, errors.Join(c.CheckSender(old[1]), c.CheckSender(old[2])))
	// A program of that version that goes on beside this one loses nothing, and what it makes is
	// taken over too.
	must(t, c.Attach(attachment("c9", "10.1.0.9/24")))
	load(t, ns, "old_masquerade")
	must(t, errors.Join(c.CheckSender(old[0]), c.CheckSender(old[1]), c.CheckSender(attachment("c9", "10.1.0.9/24"))))
	must(t, c.DetachExcept("nobody", nil))
	wants(t, list(t, ns), false, "masq4-", "masq6-")
	must(t, errors.Join(c.CheckSender(old[0]), c.CheckSender(old[1]), c.CheckSender(old[2])))
}

// Connections that begin meanwhile are masqueraded, each of them.
func TestTakeOverLosesNoPacket(t *testing.T) {
	nstest.Full(t, "it takes long")
	w := newWorld(t)
	load(t, w.host, "old_masquerade")
	stop, seen := make(chan struct{}), make(chan map[netip.Addr]int)
	go func() { seen <- sources(t, w, stop) }()
	for range 20 {
		must(t, w.conn.DetachExcept("nobody", nil))
		wants(t, list(t, w.host), false, "masq4-")
		load(t, w.host, "old_masquerade")
		nstest.Run(t, w.host, "nft", "delete chain inet swiftcni postrouting")
	}
	close(stop)
	if got := <-seen; len(got) != 1 || got[netip.MustParseAddr("198.51.100.1")] < 20 {
		t.Errorf("the outside saw %v", got)
	}
}

// sources sends datagrams from c1 to the outside, each from a port of its own, and counts whom they
// seem to come from.
func sources(t *testing.T, w world, stop chan struct{}) map[netip.Addr]int {
	receiver := listenIn(t, w.outside)
	defer receiver.Close()
	seen := map[netip.Addr]int{}
	buffer := make([]byte, 16)
	for {
		select {
		case <-stop:
			return seen
		default:
		}
		sender := dialFrom(t, w.c1)
		_, err := sender.Write([]byte("x"))
		sender.Close()
		_ = receiver.SetReadDeadline(time.Now().Add(time.Minute))
		_, from, err2 := receiver.ReadFromUDPAddrPort(buffer)
		if err := errors.Join(err, err2); err != nil {
			t.Error(err)
			return seen
		}
		seen[from.Addr().Unmap()]++
	}
}
