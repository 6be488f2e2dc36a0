// SPDX-License-Identifier: Apache-2.0

package cni

import (
	"context"
	"errors"
	"slices"
	"strings"

	"github.com/swiftcni/swiftcni/internal/calls"
	"github.com/swiftcni/swiftcni/internal/jsontext"
	"github.com/swiftcni/swiftcni/internal/process"
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

// memberText is a member's configuration as it was written, and its place.
type memberText struct {
	text []byte
	path string
}

// common is what a network tells all of its plugins, over what they say themselves.
type common struct {
	name, cniVersion string
	keys             []jsontext.Override // runtimeConfig and args, as far as they're there
	list             bool                // it's a list's
}

// parseChain keeps each member's text. What is in it is looked at when the network is known.
func (n *Network) parseChain(r *jsontext.Reader) error {
	n.chain = nil
	_, err := readTexts(r, &n.chain)
	return err
}

// readTexts reads a list of configurations as they're written.
func readTexts(r *jsontext.Reader, to *[]memberText) (present bool, err error) {
	return r.List(func() error {
		text, err := r.Value()
		*to = append(*to, memberText{text: text, path: r.Path()})
		return err
	})
}

// serve makes the network the plugin's: it reads the keys that are the plugin's own, and the chain.
func (n *Network) serve(p *plugin) {
	n.served = p
	if p == nil {
		return
	}
	if p.read != nil {
		n.room = p.read(n.reader())
	}
	if !p.heads || len(n.chain) == 0 {
		return
	}
	of := &common{name: n.name, cniVersion: n.cniVersion, keys: n.shared()}
	for _, l := range n.chain {
		m := readMember(l, of)
		if m.network != nil && (m.network.served == nil || !m.network.served.follows) {
			m.err = invalidKey("type", `"type" is `+quote(m.network.plugin)+", expected one of "+strings.Join(chainable(), ", "))
			m.network = nil
		}
		n.follow(m)
	}
}

// follow adds a member.
func (n *Network) follow(m member) {
	if m.network != nil {
		m.network.prev, m.network.prevRaw, m.network.prevErr, m.network.valid = n.prev, nil, nil, n.valid
	}
	n.members = append(n.members, m)
}

// shared are the keys that are the whole network's, and so each member's.
func (n *Network) shared() (keys []jsontext.Override) {
	r := n.reader()
	// The text was read before, so nothing in it can be wrong.
	_ = r.Object(func(key string) error {
		if key != "runtimeconfig" && key != "args" {
			return nil
		}
		v, err := r.Value()
		keys = append(keys, jsontext.Override{Key: r.Key, Value: v})
		return err
	})
	return keys
}

// reader walks the network's keys, others' among them.
func (n *Network) reader() *jsontext.Reader {
	r := jsontext.NewReader(n.text, "")
	if n.common != nil {
		r.Override(n.common.keys)
	}
	return r
}

// readMember reads a member's configuration, and finds what is wrong with it.
func readMember(l memberText, of *common) member {
	m := member{path: l.path}
	if jsontext.NewReader(l.text, "").Kind() != '{' {
		m.err = invalidKey("", "expected an object, a plugin's configuration")
		return m
	}
	if m.network, m.err = readFor(l.text, of); m.err == nil {
		m.err = m.network.problem()
	}
	return m
}

// chainable lists the plugins that can be members of a chain.
func chainable() (list []string) {
	for _, p := range plugins() {
		if p.follows {
			list = append(list, p.name)
		}
	}
	return list
}

// inChain says which member an error is about.
func inChain(path string, err error) error {
	e := *asError(err)
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
			err = m.network.served.wrong(m.network, a)
		}
		if err != nil {
			return inChain(m.path, err)
		}
	}
	return nil
}

// after is a member's network, whose plugin is given a result.
func (m member) after(prev *Result) *Network {
	n := *m.network
	n.prev = prev
	return &n
}

// attach runs ADD of the plugin and of its members. One that fails takes all of them back.
func (p *plugin) attach(ctx context.Context, n *Network, a Attachment) (*Result, error) {
	if n.members == nil {
		return p.add(ctx, n, a)
	}
	if err := n.checkMembers(a); err != nil {
		return nil, err
	}
	res, err := p.add(ctx, n, a)
	if err != nil {
		return nil, err
	}
	process.Of(ctx).Enter(calls.Plugin)
	for i, m := range n.members {
		if res, err = m.network.served.attach(ctx, m.after(res), a); err != nil {
			process.Of(ctx).Enter(calls.Undo)
			undo := errors.Join(detachMembers(ctx, n.members[:i+1], a), p.del(ctx, n, a))
			return nil, joined(inChain(m.path, err), failed("undo", undo))
		}
	}
	return res, nil
}

func (p *plugin) detach(ctx context.Context, n *Network, a Attachment) error {
	if n.members == nil {
		return p.del(ctx, n, a)
	}
	return joined(detachMembers(ctx, n.members, a), p.del(ctx, n, a))
}

// detachMembers runs DEL of members, the last first, and all of them whatever one says.
func detachMembers(ctx context.Context, members []member, a Attachment) (err error) {
	process.Of(ctx).Enter(calls.Plugin)
	for _, m := range slices.Backward(members) {
		if m.network != nil && m.network.served != nil {
			err = errors.Join(err, m.network.served.detach(ctx, m.network, a))
		}
	}
	return err
}

func (p *plugin) inspect(ctx context.Context, n *Network, a Attachment, prev *Result) error {
	var err error
	if p.check != nil {
		err = p.check(ctx, n, a, prev)
	}
	return n.eachMember(a, err, func(m member) error {
		return m.network.served.inspect(ctx, m.after(prev), a, prev)
	})
}

func (p *plugin) collect(ctx context.Context, n *Network, valid []Attachment) error {
	var err error
	if p.gc != nil { // else what it made goes with the container
		err = p.gc(ctx, n, valid)
	}
	return n.eachMember(Attachment{}, err, func(m member) error {
		return m.network.served.collect(ctx, m.network, valid)
	})
}

func (p *plugin) report(ctx context.Context, n *Network) error {
	var err error
	if p.status != nil {
		err = p.status(ctx, n)
	}
	return n.eachMember(Attachment{}, err, func(m member) error { return m.network.served.report(ctx, m.network) })
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
	return joined(errs...)
}
