// SPDX-License-Identifier: Apache-2.0

package nft

import (
	"testing"

	"github.com/swiftcni/swiftcni/internal/test/nstest"
)

// An owner that comes back between the proof of its death and the removal keeps everything, though
// it found all of it as it should be.
func TestRemovalDoesNotOvertakeAnOwnerThatComesBack(t *testing.T) {
	sender := guardedBy(attachment("c1", "10.1.0.2/24", "fd00:1::2/64"), "swc1", "02:00:00:00:00:01")
	ports, open := publication("c1", "10.1.0.2/24", 8080, 8081), allowance("c1", "10.1.0.2", "fd00:1::2")
	stranger := attachment("c2", "10.1.0.3/24")
	for _, test := range []struct {
		name   string
		add    func(*Conn) error
		remove func(*Conn) error
		check  func(*Conn) error
	}{
		{"attached, found by owner", func(c *Conn) error { return c.Attach(sender) },
			func(c *Conn) error { return c.DetachOwner(stranger.Owner, sender.Owner) }, func(c *Conn) error { return c.CheckSender(sender) }},
		{"attached, found by hints", func(c *Conn) error { return c.Attach(sender) },
			func(c *Conn) error { return c.Detach(sender) }, func(c *Conn) error { return c.CheckSender(sender) }},
		{"published, found by owner", func(c *Conn) error { _, err := c.Publish(ports); return err },
			func(c *Conn) error { _, err := c.Unpublish(Publication{Owner: ports.Owner}); return err }, func(c *Conn) error { return c.CheckPublication(ports) }},
		{"published, found by hints", func(c *Conn) error { _, err := c.Publish(ports); return err },
			func(c *Conn) error { _, err := c.Unpublish(ports); return err }, func(c *Conn) error { return c.CheckPublication(ports) }},
		{"allowed, found by owner", func(c *Conn) error { return c.Allow(open) },
			func(c *Conn) error { return c.Revoke(Allowance{Owner: open.Owner}, nil) }, func(c *Conn) error { return c.CheckAllowance(open) }},
		{"allowed, found by hints", func(c *Conn) error { return c.Allow(open) },
			func(c *Conn) error { return c.Revoke(open, nil) }, func(c *Conn) error { return c.CheckAllowance(open) }},
	} {
		t.Run(test.name, func(t *testing.T) {
			ns := nstest.New(t, "host")
			c, back := dial(t, ns), dial(t, ns)
			must(t, c.Attach(stranger))
			must(t, test.add(c))
			asked := 0
			c.Spare(func(o Owner) bool {
				if o.ContainerID != sender.Owner.ContainerID {
					return false
				}
				if asked++; asked == 1 {
					must(t, test.add(back)) // just after it was seen to be dead
					return false
				}
				return true
			})
			must(t, test.remove(c))
			must(t, test.check(back))
			if asked < 2 {
				t.Errorf("asked %d times", asked)
			}
			if c.Clean() {
				t.Error("a Conn that spares owners is taken for a new one")
			}
			c.Spare(nil)
			if !c.Clean() {
				t.Error("it isn't any more")
			}
			must(t, test.remove(c))
			if test.check(back) == nil {
				t.Error("the dead one's is left")
			}
		})
	}
}

// An opening that finds one of its addresses there doesn't lose it to a removal that was faster.
func TestOpeningsAreBoundToWhatTheyFound(t *testing.T) {
	ns := nstest.New(t, "host")
	c := dial(t, ns)
	one, both := allowance("c1", "10.1.0.2"), allowance("c1", "10.1.0.2", "fd00:1::2")
	must(t, c.Allow(one))
	var b batch
	if take(&b, both.elements(), []*element{&one.elements()[0], nil}) {
		t.Error("a transaction that counts on an element isn't bound to its generation")
	}
}

// Nor does one lose the policy of its bridge, that it finds there, to another network.
func TestOpeningsAreBoundToThePolicyTheyFound(t *testing.T) {
	ns := nstest.New(t, "host")
	c := dial(t, ns)
	first, next := allowance("c1", "10.1.0.2"), allowance("c2", "10.1.0.3")
	policies := []Ingress{IngressOpen, IngressIsolated}
	for i, o := range []*Allowance{&first, &next} {
		for _, policy := range policies {
			o.Bridge, o.Ingress = "br0", policy
			s, err := c.firewallState(o, o.elements(), o.policy())
			must(t, err)
			var b batch
			none, err := c.setPolicy(&b, o, s.policy)
			must(t, err)
			if want := i == 0 && policy == IngressOpen; none != want {
				t.Errorf("%s, %s: the transaction counts on no policy: %v", o.Owner, policy, none)
			}
		}
		must(t, c.Allow(*o))
	}
}
