// SPDX-License-Identifier: Apache-2.0

package nft

import (
	"errors"
	"fmt"
	"io/fs"
	"net/netip"
	"os"
	"strings"
	"sync"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/google/go-cmp/cmp"
	"github.com/swiftcni/swiftcni/internal/test/nstest"
)

// messages returns how many messages fn made the Conn send.
func messages(c *Conn, fn func()) int {
	before := c.sequence
	fn()
	return int(c.sequence - before)
}

func TestAttachSendsElementsOnly(t *testing.T) {
	c := dial(t, nstest.New(t, "host"))
	must(t, c.Attach(guardedBy(attachment("c1", "10.1.0.2/24", "fd00:1::2/64"), "swc1", "02:00:00:00:00:01")))
	b := guardedBy(attachment("c2", "10.1.0.3/24", "fd00:1::3/64"), "swc2", "02:00:00:00:00:02")
	// A set's elements are one message; BEGIN and END frame them. No second try, no look-up.
	if n := messages(c, func() { must(t, c.Attach(b)) }); n != 6+2 {
		t.Errorf("Attach sent %d messages, want 8", n)
	}
	if _, err := c.receive(0); err == nil {
		t.Error("Attach left an answer behind")
	}
	if n := messages(c, func() { must(t, c.Attach(Sender{Owner: b.Owner})) }); n != 0 {
		t.Errorf("attaching nothing sent %d messages, want none", n)
	}
}

func TestStaleElementIsReplaced(t *testing.T) {
	ns := nstest.New(t, "host")
	c := dial(t, ns)
	dead := guardedBy(attachment("dead", "10.1.0.2/24", "fd00:1::2/64"), "swc1", "02:00:00:00:00:01")
	live := guardedBy(attachment("live", "10.1.0.2/24", "fd00:1::2/64"), "swc1", "02:00:00:00:00:09")
	must(t, c.Attach(dead))
	must(t, c.Attach(live))
	l := list(t, ns)
	wants(t, l, false, "dead", "02:00:00:00:00:01")
	wants(t, l, true, `10.1.0.2 comment "mynet/live/eth0 /24"`, `fd00:1::2 . fd00:1:: comment "mynet/live/eth0"`, `"swc1" . 02:00:00:00:00:09 comment "mynet/live/eth0"`)
	// The dead owner's late DEL, by hints and by search.
	must(t, c.Detach(dead))
	must(t, c.DetachOwner(dead.Owner))
	if after := list(t, ns); after != l {
		t.Errorf("a late DEL changed\n%s\nto\n%s", l, after)
	}
	must(t, c.CheckSender(live))
}

// Between a look-up and its deletion another owner takes the address: the generation stops the
// deletion.
func TestDeletionIsBoundToWhatWasSeen(t *testing.T) {
	ns := nstest.New(t, "host")
	c, d := dial(t, ns), dial(t, ns)
	old, next := attachment("old", "10.1.0.2/24"), attachment("next", "10.1.0.2/24")
	must(t, c.Attach(old))
	found, generation, err := c.lookUp(old.elements())
	must(t, err)
	must(t, d.Attach(next))
	var b batch
	b.delete(dense(found))
	if err := c.commit(&b, &generation); !hasErrno(err, unix.ERESTART) {
		t.Fatalf("deletion of a changed ruleset: got %v, want ERESTART", err)
	}
	must(t, d.CheckSender(next))
}

func TestFlushIsRepaired(t *testing.T) {
	ns := nstest.New(t, "host")
	c := dial(t, ns)
	a := guardedBy(attachment("c1", "10.1.0.2/24"), "swc1", "02:00:00:00:00:01")
	b := guardedBy(attachment("c2", "10.1.0.3/24"), "swc2", "02:00:00:00:00:02")
	must(t, c.Attach(a))
	for _, flush := range []string{"flush ruleset", "delete table inet swiftcni", "delete table bridge swiftcni"} {
		nstest.Run(t, ns, "nft", flush)
		if err := c.CheckSender(b); !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("after %s: Check: got %v, want not exist", flush, err)
		}
		must(t, c.Detach(b))
		must(t, c.Attach(b))
		must(t, c.CheckSender(b))
	}
}

// Emptied chains aren't noticed by an Attach, whose elements find their set; Check notices, Build
// repairs.
func TestBuildRepairsEmptiedChains(t *testing.T) {
	ns := nstest.New(t, "host")
	c := dial(t, ns)
	a := guardedBy(attachment("c1", "10.1.0.2/24"), "swc1", "02:00:00:00:00:01")
	must(t, c.build(needOf(a.elements()), nil))
	if n := messages(c, func() { must(t, c.Attach(a)) }); n != 4+2 {
		t.Errorf("Attach after Build sent %d messages, want 6", n)
	}
	nstest.Run(t, ns, "nft", "flush table inet swiftcni; flush table bridge swiftcni")
	if err := c.CheckSender(a); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("after a flush of the tables: Check: got %v, want not exist", err)
	}
	must(t, c.build(needOf(a.elements()), nil))
	must(t, c.CheckSender(a))
	for _, p := range []string{"0.0.0.0/0", "::/0", "::ffff:10.0.0.0/104"} {
		if err := c.Build(Ruleset{Subnets: prefixes(p)}); err == nil {
			t.Errorf("subnet %s was built", p)
		}
	}
}

// Chains that somebody emptied are filled by the next one who publishes. Elements alone wouldn't
// notice.
func TestPublishFillsEmptiedChains(t *testing.T) {
	for name, p := range portRulesets {
		ns := nstest.New(t, "host")
		c := dial(t, ns)
		publish(t, c, p)
		var commands []string
		for _, x := range p.used() {
			commands = append(commands, "flush chain inet swiftcni "+x.chain)
		}
		next := p
		next.Owner.ContainerID = "next"
		next.Addrs = nil
		for _, a := range p.Addrs {
			next.Addrs = append(next.Addrs, netip.PrefixFrom(a.Addr().Next(), a.Bits()))
		}
		next.Ports = []PortMapping{{Protocol: TCP, HostPort: 9, ContainerPort: 9}}
		for _, command := range append(commands, "flush table inet swiftcni") {
			nstest.Run(t, ns, "nft", command)
			if err := c.CheckPublication(p); !errors.Is(err, fs.ErrNotExist) {
				t.Errorf("%s: %s: got %v, want not exist", name, command, err)
			}
			publish(t, c, next)
			for _, x := range []Publication{p, next} {
				if err := c.CheckPublication(x); err != nil {
					t.Errorf("%s: after %s and publishing: %v", name, command, err)
				}
			}
			if lacks, err := c.lacksRules(&next); lacks || err != nil {
				t.Errorf("%s: whole rules are said to lack something: %v", name, err)
			}
		}
	}
}

// A rule of another's before ours is found by CheckPublication, and not by a Publish, which counts.
// Rebuild takes it out.
func TestRebuildMakesRulesAnew(t *testing.T) {
	ns := nstest.New(t, "host")
	c := dial(t, ns)
	must(t, c.Rebuild())
	if text := list(t, ns); text != "" {
		t.Errorf("rebuilding nothing made %s", text)
	}
	p, a := publication("c1", "10.1.0.2/24", 80), attachment("c1", "10.1.0.2/24")
	must(t, c.Attach(a))
	publish(t, c, p)
	want := list(t, ns)
	for _, command := range []string{"insert rule inet swiftcni ports accept", "insert rule inet swiftcni postrouting accept",
		"flush table inet swiftcni", "delete chain inet swiftcni prerouting-ports"} {
		nstest.Run(t, ns, "nft", command)
		must(t, c.Rebuild())
		must(t, c.CheckSender(a))
		must(t, c.CheckPublication(p))
		if got := list(t, ns); sortedLines(got) != sortedLines(want) {
			t.Errorf("after %s:\n%s", command, cmp.Diff(want, got))
		}
	}
}

func TestFirstAttachesAtOnce(t *testing.T) {
	ns := nstest.New(t, "host")
	const n = 16
	var wg sync.WaitGroup
	errs := make([]error, n)
	for i := range n {
		c := dial(t, ns)
		wg.Go(func() {
			a := guardedBy(attachment(fmt.Sprint("c", i), fmt.Sprintf("10.1.%d.2/24", i%3), fmt.Sprintf("10.2.0.%d/16", i+1)), fmt.Sprint("swc", i), fmt.Sprintf("02:00:00:00:00:%02x", i))
			a.Masquerade[0] = netip.PrefixFrom(netip.AddrFrom4([4]byte{10, 1, byte(i % 3), byte(i + 1)}), 24)
			errs[i] = errors.Join(c.Attach(a), c.CheckSender(a), c.Attach(a), c.Detach(a), c.Attach(a))
		})
	}
	wg.Wait()
	must(t, errors.Join(errs...))
	l := list(t, ns)
	// Nothing is double: each rule stands once in its chain.
	for text, want := range map[string]int{"255.255.255.0 @own4-24": 1, "255.255.0.0 @own4-16": 1, "masquerade\n": 1, " drop\n": 1, "comment": 6 * n} {
		if got := strings.Count(l, text); got != want {
			t.Errorf("%q: got %d times, want %d, in\n%s", text, got, want, l)
		}
	}
}

// Another program flushes the ruleset without pause: each Attach succeeds or says clearly why not.
func TestFlushInTheMiddle(t *testing.T) {
	ns := nstest.New(t, "host")
	stop := make(chan struct{})
	var wg sync.WaitGroup
	wg.Go(func() {
		for {
			select {
			case <-stop:
				return
			default:
				_ = nstest.Command(ns, "nft", "flush ruleset").Run()
			}
		}
	})
	c := dial(t, ns)
	for i := range 300 {
		a := guardedBy(attachment(fmt.Sprint("c", i), fmt.Sprintf("10.1.0.%d/24", i%250+1)), "swc", "02:00:00:00:00:01")
		if err := c.Attach(a); err != nil {
			t.Errorf("attach %d: %v", i, err)
		}
		if err := c.Detach(a); err != nil {
			t.Errorf("detach %d: %v", i, err)
		}
	}
	close(stop)
	wg.Wait()
}

func TestNoDescriptorIsLeft(t *testing.T) {
	ns := nstest.New(t, "host")
	count := func() int {
		es, err := os.ReadDir("/proc/self/fd")
		must(t, err)
		return len(es)
	}
	before := count()
	for range 10 {
		nstest.In(t, ns, func() {
			c, err := Dial()
			if err != nil {
				t.Error(err)
				return
			}
			err = errors.Join(c.Attach(attachment("c1", "10.1.0.2/24")), c.Close())
			if err != nil {
				t.Error(err)
			}
		})
	}
	if after := count(); after != before {
		t.Errorf("got %d descriptors, want %d", after, before)
	}
}

func TestInvalidAttachmentIsRefused(t *testing.T) {
	c := dial(t, nstest.New(t, "host"))
	good := guardedBy(attachment("c1", "10.1.0.2/24"), "swc1", "02:00:00:00:00:01")
	for name, change := range map[string]func(*Sender){
		"no network":          func(a *Sender) { a.Owner.Network = "" },
		"slash in container":  func(a *Sender) { a.Owner.ContainerID = "a/b" },
		"quote in interface":  func(a *Sender) { a.Owner.IfName = `e"h` },
		"long interface":      func(a *Sender) { a.Owner.IfName = strings.Repeat("e", 16) },
		"zero prefix":         func(a *Sender) { a.Masquerade = []netip.Prefix{{}} },
		"IPv4 mapped in IPv6": func(a *Sender) { a.Masquerade = []netip.Prefix{netip.MustParsePrefix("::ffff:10.1.0.2/120")} },
		"no link":             func(a *Sender) { a.Guard = &Guard{MAC: good.Guard.MAC} },
		"no MAC":              func(a *Sender) { a.Guard = &Guard{HostLink: "swc1"} },
	} {
		a := good
		change(&a)
		if n := messages(c, func() {
			if err := c.Attach(a); err == nil {
				t.Errorf("%s: attached", name)
			}
		}); n != 0 {
			t.Errorf("%s: %d messages sent, want none", name, n)
		}
	}
}
