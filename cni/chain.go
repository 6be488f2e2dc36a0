// SPDX-License-Identifier: Apache-2.0

package cni

import (
	"context"
	"errors"
	"slices"
	"strconv"
	"strings"

	"github.com/swiftcni/swiftcni/internal/calls"
	"github.com/swiftcni/swiftcni/internal/fault"
	"github.com/swiftcni/swiftcni/internal/jsontext"
	"github.com/swiftcni/swiftcni/internal/netconf"
	"github.com/swiftcni/swiftcni/internal/process"
	"github.com/swiftcni/swiftcni/internal/verbs"
)

// Plugins that follow a network's first run in this process, one after the other, each with the
// result of the one before: those in the key "chain" of bridge and ptp, so that a network needs one
// program to start instead of five, and those of a list that [Parse] is given.

// A member is a plugin that follows, with its own configuration.
type member struct {
	network *Network // nil: it can't be read
	path    string   // such as "chain[1]"
	err     error    // what is wrong with it, whatever is attached
}

// readChain reads the configurations in the key "chain".
func (n *Network) readChain() {
	of := n.conf.Common()
	for _, l := range n.conf.Chain {
		m := readMember(l, of)
		if m.network != nil && (m.network.served == nil || !m.network.served.follows) {
			m.err = fault.Key("type", `"type" is `+strconv.Quote(m.network.conf.Type)+", expected one of "+strings.Join(chainable(), ", "))
			m.network = nil
		}
		n.members = append(n.members, m)
	}
}

// readMember reads a member's configuration, and finds what is wrong with it.
func readMember(l netconf.Text, of *netconf.Common) member {
	m := member{path: l.Path}
	if jsontext.NewReader(l.JSON, "").Kind() != '{' {
		m.err = fault.Key("", "expected an object, a plugin's configuration")
		return m
	}
	if m.network, m.err = readFor(l.JSON, of); m.err == nil {
		m.err = m.network.problem()
	}
	return m
}

// inChain says which member an error is about.
func inChain(path string, err error) error {
	e := *fault.Of(err)
	e.Msg = path + ": " + e.Msg
	if e.Key != "" {
		e.Key = path + "." + e.Key
	} else {
		e.Key = path
	}
	return &e
}

// checkMembers returns what is wrong with the first member that's wrong, for an attachment.
func (n *Network) checkMembers(a Attachment) error {
	for _, m := range n.members {
		err := m.err
		if err == nil {
			err = m.network.wrong(a)
		}
		if err != nil {
			return inChain(m.path, err)
		}
	}
	return nil
}

// call is what the plugin is told, with the result of the one before it.
func (m member) call(prev *Result) *verbs.Call {
	c := m.network.told
	c.Prev, c.PrevText, c.PrevErr = prev, nil, nil
	return &c
}

// attach runs ADD of the plugin and of its members. One that fails takes all of them back.
func (n *Network) attach(ctx context.Context, c *verbs.Call, a Attachment) (*Result, error) {
	if n.members == nil {
		return n.room.Add(ctx, c, a)
	}
	if err := n.checkMembers(a); err != nil {
		return nil, err
	}
	res, err := n.room.Add(ctx, c, a)
	if err != nil {
		return nil, err
	}
	process.Of(ctx).Enter(calls.Plugin)
	for i, m := range n.members {
		if res, err = m.network.attach(ctx, m.call(res), a); err != nil {
			process.Of(ctx).Enter(calls.Undo)
			undo := errors.Join(detachMembers(ctx, n.members[:i+1], c.Prev, a), n.room.Del(ctx, c, a))
			return nil, fault.Join(inChain(m.path, err), fault.Wrap("undo", undo))
		}
	}
	return res, nil
}

func (n *Network) detach(ctx context.Context, c *verbs.Call, a Attachment) error {
	if n.members == nil {
		return n.room.Del(ctx, c, a)
	}
	return fault.Join(detachMembers(ctx, n.members, c.Prev, a), n.room.Del(ctx, c, a))
}

// detachMembers runs DEL of members, the last first, and all of them whatever one says.
func detachMembers(ctx context.Context, members []member, prev *Result, a Attachment) (err error) {
	process.Of(ctx).Enter(calls.Plugin)
	for _, m := range slices.Backward(members) {
		if m.network != nil && m.network.served != nil {
			err = errors.Join(err, m.network.detach(ctx, m.call(prev), a))
		}
	}
	return err
}

func (n *Network) check(ctx context.Context, c *verbs.Call, a Attachment) error {
	return n.eachMember(a, n.room.Check(ctx, c, a), func(m member) error { return m.network.check(ctx, m.call(c.Prev), a) })
}

func (n *Network) collect(ctx context.Context, c *verbs.Call, valid []Attachment) error {
	return n.eachMember(Attachment{}, n.room.GC(ctx, c, valid), func(m member) error { return m.network.collect(ctx, m.call(c.Prev), valid) })
}

func (n *Network) reclaim(ctx context.Context, c *verbs.Call) error {
	return n.eachMember(Attachment{}, n.room.Reclaim(ctx, c), func(m member) error { return m.network.reclaim(ctx, m.call(c.Prev)) })
}

func (n *Network) status(ctx context.Context, c *verbs.Call) error {
	return n.eachMember(Attachment{}, n.room.Status(ctx, c), func(m member) error { return m.network.status(ctx, m.call(c.Prev)) })
}

// eachMember runs fn for each member that can be read, after the first plugin, whose error it's
// given.
func (n *Network) eachMember(a Attachment, first error, fn func(member) error) error {
	if n.members == nil {
		return first
	}
	errs := []error{first, n.checkMembers(a)}
	for _, m := range n.members {
		if m.network == nil || m.network.served == nil {
			continue
		}
		if e := fn(m); e != nil {
			errs = append(errs, inChain(m.path, e))
		}
	}
	return fault.Join(errs...)
}
