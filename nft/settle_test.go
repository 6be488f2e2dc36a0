// SPDX-License-Identifier: Apache-2.0

package nft

import (
	"errors"
	"fmt"
	"io/fs"
	"net/netip"
	"strings"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/swiftcni/swiftcni/internal/test/nstest"
)

// second is the same container's attachment to another network.
func second(network, addresses string, ports ...uint16) Publication {
	p := publication("c1", addresses, ports...)
	p.Owner.Network, p.Owner.IfName = network, "eth1"
	return p
}

// served returns where a network's mappings lead, but for those that wait.
func served(t *testing.T, c *Conn, network string) (list []string) {
	t.Helper()
	for p, err := range c.Published(network) {
		must(t, err)
		if !p.Waiting {
			list = append(list, p.Mapping.HostText()+" "+p.Target.String())
		}
	}
	return list
}

// A port belongs to the container. The attachment that has it gives it to another when it goes,
// however it goes.
func TestPortsGoToTheContainersOtherAttachment(t *testing.T) {
	first := publication("c1", "10.1.0.2/24 fd00:1::2/64", 80, 81)
	other := second("b", "10.2.0.2/16 fd00:2::2/64", 80, 82)
	for name, end := range map[string]func(c *Conn) error{
		"del":                func(c *Conn) error { _, err := c.Unpublish(first); return err },
		"del without hints":  func(c *Conn) error { _, err := c.Unpublish(Publication{Owner: first.Owner}); return err },
		"garbage collection": func(c *Conn) error { _, err := c.UnpublishExcept("mynet", nil); return err },
		"its address is another's": func(c *Conn) error {
			_, err := c.Publish(publication("c9", "10.1.0.2/24 fd00:1::2/64", 99))
			return err
		},
	} {
		t.Run(name, func(t *testing.T) {
			ns := nstest.New(t, "host")
			c := dial(t, ns)
			publish(t, c, first)
			waiting, err := c.Publish(other)
			must(t, err)
			if len(waiting) != 2 || waiting[0].Mapping.HostPort != 80 || waiting[1].Mapping.HostPort != 80 {
				t.Errorf("waits for %v", waiting)
			}
			must(t, errors.Join(c.CheckPublication(first), c.CheckPublication(other)))
			before := list(t, ns)
			_, err = c.Publish(other)
			must(t, err)
			publish(t, c, first)
			if diff := cmp.Diff(sortedLines(before), sortedLines(list(t, ns))); diff != "" {
				t.Errorf("publishing both again changed %s", diff)
			}
			must(t, end(c))
			want := "[tcp port 80 10.2.0.2:81 tcp port 82 10.2.0.2:83 tcp port 80 [fd00:2::2]:81 tcp port 82 [fd00:2::2]:83]"
			if got := fmt.Sprint(served(t, c, "b")); got != want {
				t.Errorf("got %s, want %s", got, want)
			}
			must(t, c.CheckPublication(other))
			if name != "its address is another's" {
				publish(t, c, publication("c5", "10.1.0.5/24", 81))
			}
			s, err := c.survey()
			must(t, err)
			_, err = c.Unpublish(other)
			must(t, err)
			if counted := len(s.members) > 0; !counted {
				must(t, c.Tidy()) // without counts a DEL can't see that it's the last
			}
			wants(t, list(t, ns), false, "c1/eth", "standby")
		})
	}
}

// Of several the next one takes over, and so on; one that waits may go, too.
func TestPortsGoFromOneToTheNext(t *testing.T) {
	ns := nstest.New(t, "host")
	c := dial(t, ns)
	a, b, d := publication("c1", "10.1.0.2/24", 80), second("b", "10.2.0.2/24", 80), second("d", "10.4.0.2/24", 80)
	for _, p := range []Publication{a, b, d} {
		_, err := c.Publish(p)
		must(t, err)
	}
	unpublish := func(p Publication, want string) {
		t.Helper()
		_, err := c.Unpublish(p)
		must(t, err)
		if got := strings.Join(served(t, c, ""), ", "); got != want {
			t.Errorf("after %s: got %q, want %q", p.Owner, got, want)
		}
	}
	unpublish(a, "tcp port 80 10.2.0.2:81")
	must(t, errors.Join(c.CheckPublication(b), c.CheckPublication(d)))
	_, err := c.Publish(a)
	must(t, err)
	unpublish(b, "tcp port 80 10.4.0.2:81")
	unpublish(a, "tcp port 80 10.4.0.2:81")
	unpublish(d, "")
	wants(t, list(t, ns), false, "c1/eth", "standby")
}

// The sets in which its ports' packets are marked stay while it waits, also if it's the only one that uses their mark.
func TestPortsGoToAnotherMark(t *testing.T) {
	conditions := portRulesets["ports_conditions"].Conditions4
	for name, differ := range map[string]func(first, other *Publication){
		"the second's bit":    func(_, other *Publication) { other.Mark = 1 << 5 },
		"the first's bit":     func(first, _ *Publication) { first.Mark = 1 << 5 },
		"the first has none":  func(first, other *Publication) { first.Hairpin, other.Mark = false, 1<<5 },
		"none, by conditions": func(first, _ *Publication) { first.Hairpin = false },
		"the second's, for an address of the host's": func(first, other *Publication) {
			other.Mark = 1 << 5
			first.Ports[0].HostIP = netip.MustParseAddr("192.0.2.1")
			other.Ports[0].HostIP = first.Ports[0].HostIP
		},
	} {
		ns := nstest.New(t, "host")
		c := dial(t, ns)
		first, other := publication("c1", "10.1.0.2/24", 80), second("b", "10.2.0.2/16", 80)
		if name == "none, by conditions" {
			first.Conditions4, other.Conditions4 = conditions, conditions
		}
		differ(&first, &other)
		publish(t, c, first)
		waiting, err := c.Publish(other)
		must(t, err)
		if len(waiting) != 1 {
			t.Errorf("%s: waits for %v", name, waiting)
		}
		must(t, errors.Join(c.Tidy(), c.CheckPublication(first), c.CheckPublication(other)))
		_, err = c.Unpublish(first)
		must(t, err)
		if err := c.CheckPublication(other); err != nil {
			t.Errorf("%s: %v in\n%s", name, err, list(t, ns))
		}
		_, err = c.Unpublish(other)
		must(t, errors.Join(err, c.Tidy()))
		if got := shapeOf(t, ns); got != "" {
			t.Errorf("%s: at the end there is\n%s", name, got)
		}
	}
}

// Another container's port stays that one's, and one that waits has nothing that a third could
// take.
func TestWaitingForAnotherContainersPortIsRefused(t *testing.T) {
	c := dial(t, nstest.New(t, "host"))
	publish(t, c, publication("c1", "10.1.0.2/24", 80))
	_, err := c.Publish(second("b", "10.2.0.2/24", 80))
	must(t, err)
	if _, err := c.Publish(publication("c2", "10.1.0.3/24", 80)); !errors.Is(err, fs.ErrExist) {
		t.Errorf("got %v, want exist", err)
	}
	// A long ID is known by its hash, however much of it a comment holds.
	id := strings.Repeat("0123456789abcdef", 8)
	p, q := publication(id, "10.1.0.7/24", 81), second(strings.Repeat("n", 40), "10.2.0.7/24", 81)
	q.Owner.ContainerID = id
	publish(t, c, p)
	if waiting, err := c.Publish(q); err != nil || len(waiting) != 1 {
		t.Errorf("waits for %v: %v", waiting, err)
	}
	must(t, c.CheckPublication(q))
}

// Attachments of one container come and go at the same time: at any end all is theirs, or nothing
// is left.
func TestAttachmentsOfOneContainerAtOnce(t *testing.T) {
	ns := nstest.New(t, "host")
	const n = 6
	var wg sync.WaitGroup
	errs := make([]error, n)
	for i := range n {
		c := dial(t, ns)
		wg.Go(func() {
			p := second(fmt.Sprint("n", i), fmt.Sprintf("10.%d.0.2/24", i), 80, 81)
			for range 8 {
				_, err := c.Publish(p)
				err = errors.Join(err, c.CheckPublication(p))
				_, err2 := c.Unpublish(p)
				if err = errors.Join(err, err2); err != nil {
					errs[i] = err
					return
				}
			}
			_, errs[i] = c.Publish(p)
		})
	}
	wg.Wait()
	must(t, errors.Join(errs...))
	c := dial(t, ns)
	if got := len(served(t, c, "")); got != 2 {
		t.Errorf("%d mappings lead somewhere, want 2", got)
	}
	for i := range n {
		if _, err := c.UnpublishExcept(fmt.Sprint("n", i), nil); err != nil {
			t.Error(err)
		}
	}
	if got := shapeOf(t, ns); got != "" {
		t.Errorf("at the end there is\n%s", got)
	}
}

// Each address, subnet and condition is gone with its last mapping.
func TestPortsLeaveNothing(t *testing.T) {
	nstest.Full(t, "it takes long")
	ns := nstest.New(t, "host")
	c := dial(t, ns)
	pair := func(i int) (sent int) {
		p := publication(fmt.Sprint("c", i), fmt.Sprintf("10.%d.%d.2/32 fd00:%x::2/128", i>>8, i&0xff, i), 80)
		sent = messages(c, func() { publish(t, c, p) })
		_, err := c.Unpublish(p)
		must(t, err)
		return sent
	}
	pair(0)
	shape, sent := shapeOf(t, ns), pair(1)
	for i := range 5000 {
		if got := pair(i); got != sent {
			t.Fatalf("publication %d: sent %d messages, the first %d", i, got, sent)
		}
	}
	for i := range 40 {
		p := publication("c1", "10.1.0.2/32 fd00::2/128", 80)
		p.Conditions4 = []Condition{condition(Source, false, fmt.Sprintf("10.%d.0.0/16", i))}
		publish(t, c, p)
		must(t, c.CheckPublication(p))
		_, err := c.Unpublish(p)
		must(t, err)
	}
	if got := shapeOf(t, ns); got != shape {
		t.Errorf("at the end: %s", cmp.Diff(shape, got))
	}
	must(t, c.Tidy())
	if got := shapeOf(t, ns); got != "" {
		t.Errorf("after garbage collection there is\n%s", got)
	}
}
