// SPDX-License-Identifier: Apache-2.0

package cni

import (
	"bytes"
	"context"
	"errors"
	"slices"
	"strings"

	"github.com/swiftcni/swiftcni/internal/calls"
	"github.com/swiftcni/swiftcni/internal/jsontext"
	"github.com/swiftcni/swiftcni/internal/process"
)

// The key "chain" of bridge and ptp holds what otherwise follows them in a list of plugins: portmap, firewall and the
// like. They run in this process, one after the other, so that a network needs one program to start instead of five.

// A member is a plugin of a chain with its own configuration.
type member struct {
	plugin  *plugin
	network *Network
	path    string // such as "chain[1]"
}

// memberText is a member's configuration as it was written, and its place.
type memberText struct {
	text []byte
	path string
}

// parseChain keeps each member's text. What is in it is looked at when the network is known.
func (n *Network) parseChain(r *jsontext.Reader) error {
	n.chain = nil
	_, err := r.List(func() error {
		text, err := r.Value()
		n.chain = append(n.chain, memberText{text: text, path: r.Path()})
		return err
	})
	return err
}

// members reads a chain. The first member that's wrong is an error, though those that can be read are returned for DEL.
func (n *Network) members(a Attachment) (list []member, first error) {
	if len(n.chain) == 0 {
		return nil, nil
	}
	shared := n.shared()
	for _, l := range n.chain {
		m, err := n.member(l, shared, a)
		if err != nil && first == nil {
			first = inChain(l.path, err)
		}
		if m.network != nil {
			list = append(list, m)
		}
	}
	return list, first
}

// shared are the keys of the whole network as a JSON object's inner text: a member's come before them and can't be
// others.
func (n *Network) shared() []byte {
	w := jsontext.NewWriter(nil)
	w.Key("name").Str(n.name)
	w.Key("cniVersion").Str(n.cniVersion)
	text := w.Bytes()
	r := jsontext.NewReader(n.text, "")
	// The text was read before, so nothing in it can be wrong.
	_ = r.Object(func(key string) error {
		if key != "runtimeconfig" && key != "args" {
			return nil
		}
		v, err := r.Value()
		text = append(text, `,"`+key+`":`...)
		text = append(text, v...)
		return err
	})
	return text
}

func (n *Network) member(l memberText, shared []byte, a Attachment) (member, error) {
	inner, ok := bytes.CutPrefix(bytes.TrimSpace(l.text), []byte("{"))
	if !ok {
		return member{}, invalidKey("", "expected an object, a plugin's configuration")
	}
	inner = bytes.TrimSpace(bytes.TrimSuffix(inner, []byte("}")))
	text := append([]byte("{"), inner...)
	if len(inner) > 0 {
		text = append(text, ',')
	}
	m, err := read(append(append(text, shared...), '}'), nil)
	if err != nil {
		return member{}, err
	}
	m.prev, m.prevErr, m.valid = n.prev, nil, n.valid
	p := findPlugin(m.plugin)
	if p == nil || !p.follows {
		return member{}, invalidKey("type", `"type" is `+quote(m.plugin)+", expected one of "+strings.Join(chainable(), ", "))
	}
	found := member{plugin: p, network: m, path: l.path}
	if err := m.speaks(p.since); err != nil {
		return found, err
	}
	if err := p.wrong(m, a); err != nil {
		return found, err
	}
	return found, m.wrong(ofEach)
}

// chainable lists the plugins that can be members.
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

// hasChain reports whether anything follows the plugin.
func (p *plugin) hasChain(n *Network) bool { return p.heads && len(n.chain) > 0 }

// attach runs ADD of the plugin and of its members. One that fails takes all of them back.
func (p *plugin) attach(ctx context.Context, n *Network, a Attachment) (*Result, error) {
	if !p.hasChain(n) {
		return p.add(ctx, n, a)
	}
	members, err := n.members(a)
	if err != nil {
		return nil, err
	}
	res, err := p.add(ctx, n, a)
	if err != nil {
		return nil, err
	}
	process.Of(ctx).Enter(calls.Plugin)
	for i, m := range members {
		m.network.prev = res
		if res, err = m.plugin.add(ctx, m.network, a); err != nil {
			process.Of(ctx).Enter(calls.Undo)
			undo := errors.Join(detachMembers(ctx, members[:i+1], a), p.del(ctx, n, a))
			return nil, joined(inChain(m.path, err), failed("undo", undo))
		}
	}
	return res, nil
}

func (p *plugin) detach(ctx context.Context, n *Network, a Attachment) error {
	if !p.hasChain(n) {
		return p.del(ctx, n, a)
	}
	members, _ := n.members(a)
	return joined(detachMembers(ctx, members, a), p.del(ctx, n, a))
}

func (p *plugin) inspect(ctx context.Context, n *Network, a Attachment, prev *Result) error {
	var err error
	if p.check != nil {
		err = p.check(ctx, n, a, prev)
	}
	if !p.hasChain(n) {
		return err
	}
	return n.eachMember(a, err, func(m member) error {
		m.network.prev = prev
		return m.plugin.check(ctx, m.network, a, prev)
	})
}

func (p *plugin) collect(ctx context.Context, n *Network, valid []Attachment) error {
	var err error
	if p.gc != nil {
		err = p.gc(ctx, n, valid)
	}
	if !p.hasChain(n) {
		return err
	}
	return n.eachMember(Attachment{}, err, func(m member) error {
		if m.plugin.gc == nil { // what it made goes with the container
			return nil
		}
		return m.plugin.gc(ctx, m.network, valid)
	})
}

func (p *plugin) report(ctx context.Context, n *Network) error {
	var err error
	if p.status != nil {
		err = p.status(ctx, n)
	}
	if !p.hasChain(n) {
		return err
	}
	return n.eachMember(Attachment{}, err, func(m member) error { return m.plugin.status(ctx, m.network) })
}

// detachMembers runs DEL of members, the last first, and all of them whatever one says.
func detachMembers(ctx context.Context, members []member, a Attachment) (err error) {
	process.Of(ctx).Enter(calls.Plugin)
	for _, m := range slices.Backward(members) {
		err = errors.Join(err, m.plugin.del(ctx, m.network, a))
	}
	return err
}

// wrongTuning finds what is wrong with tuning's keys. GC and STATUS have no link, whose name may be part of a sysctl's.
func wrongTuning(n *Network, a Attachment) error {
	if a.IfName == "" {
		a.IfName = "eth0"
	}
	if n.prevErr != nil {
		return n.prevErr
	}
	_, err := n.tuning().tuning(a)
	return err
}

// eachMember runs fn for each member, after the chain's head, whose error it's given.
func (n *Network) eachMember(a Attachment, head error, fn func(member) error) error {
	members, err := n.members(a)
	errs := []error{head, err}
	for _, m := range members {
		if e := fn(m); e != nil {
			errs = append(errs, inChain(m.path, e))
		}
	}
	return joined(errs...)
}
