// SPDX-License-Identifier: Apache-2.0

package veth

import (
	"strconv"
	"strings"

	"github.com/swiftcni/swiftcni/cni/spec"
	"github.com/swiftcni/swiftcni/internal/addresses"
	"github.com/swiftcni/swiftcni/internal/endpoint"
	"github.com/swiftcni/swiftcni/internal/fault"
	"github.com/swiftcni/swiftcni/internal/hostid"
	"github.com/swiftcni/swiftcni/internal/sysctl"
	"github.com/swiftcni/swiftcni/ipam"
	"github.com/swiftcni/swiftcni/rtnl"
)

// Explain tells what Add would do now, and changes nothing. The container's namespace needn't
// exist.
func (k *Keys) Explain(a spec.Attachment) (string, error) {
	if a.NetNS == "" {
		a.NetNS = "/proc/self/ns/net" // it's only named
	}
	mac, err := k.checkAdd(a)
	if err != nil {
		return "", err
	}
	host, err := hostid.Read(nil)
	if err != nil {
		return "", err
	}
	conn, err := rtnl.Dial(nil)
	if err != nil {
		return "", fault.Wrap("open a netlink socket", err)
	}
	defer conn.Close()
	// Nothing of this attempt is run. It stands for the one that would be.
	e := &explanation{conn: conn, at: &attaching{keys: k, attachment: a, host: host, conn: conn, mac: mac, side: k.side(), names: k.namesOf(a, 0)}}
	e.at.mtu = k.mtu(conn)
	foreseen, err := addresses.Foresee(k.conf, a, host, conn, func(s *ipam.Store) error {
		_, err := e.at.restoreLost(s)
		return err
	})
	if err != nil {
		return "", fault.Of(err)
	}
	of := endpoint.Whole
	if k.conf.Delegates() {
		of = endpoint.Asking
	}
	e.at.decide(foreseen.Given, of)
	p := e.at.plan
	if err := e.at.side.refuse(p); err != nil {
		return "", err
	}
	if err := e.missing(p); err != nil {
		return "", err
	}
	text := strings.ReplaceAll(p.text(), " netns fd 0", " netns container")
	for _, there := range e.there {
		text = strings.Replace(text, there, "", 1)
	}
	return foreseen.Before + e.text.String() + text + foreseen.After, nil
}

// explanation is the part of it that precedes the plan.
type explanation struct {
	at    *attaching
	conn  *rtnl.Conn
	text  strings.Builder
	there []string // lines of the plan that have no effect
}

func (e *explanation) line(place, text string) { e.text.WriteString(place + text + "\n") }

// missing tells what the host lacks and would get.
func (e *explanation) missing(p *plan) error {
	if !p.keys.routed {
		if err := (bridge{p.keys.conf}).missing(e, p); err != nil {
			return err
		}
	}
	for _, f := range []struct {
		four   bool
		sysctl string
	}{{true, "net/ipv4/ip_forward"}, {false, "net/ipv6/conf/all/forwarding"}} {
		if !e.at.side.forwards(p, f.four) {
			continue
		}
		if v, err := sysctl.Read(f.sysctl); err == nil && v != "1" {
			e.line("host       ", "set "+f.sysctl+" to 1")
		}
	}
	return nil
}

// missing tells what becomes of the bridge. Gateways that it has make lines of the plan that have
// no effect.
func (t bridge) missing(e *explanation, p *plan) error {
	k, mask := &t.conf.Bridge, ""
	if k.GroupFwdMask != 0 {
		mask = " group_fwd_mask " + strconv.Itoa(k.GroupFwdMask)
	}
	_, joined, err := t.findUplink(e.conn)
	if err != nil {
		return err
	}
	name := k.Name
	l, err := e.conn.Link(name)
	switch {
	case fault.Absent(err):
		e.line("host       ", "create bridge "+name+" up"+mask)
	case err != nil:
		return fault.Wrap("failed to lookup bridge "+strconv.Quote(name), err)
	case l.Kind != "bridge":
		return notABridge(name)
	case l.State != rtnl.Up:
		e.line("host       ", "set link "+name+" up")
	}
	if now, err := e.conn.Bridge(name); err == nil && mask != "" && int(now.GroupFwdMask) != k.GroupFwdMask {
		e.line("host       ", "set bridge "+name+mask)
	}
	if !joined {
		e.line("host       ", "set link "+k.Uplink+" master "+name+" up")
	}
	for _, gw := range t.own(p) {
		on, err := e.conn.HasAddr(l.Index, gw)
		if err != nil {
			return fault.Wrap("list the bridge's addresses", err)
		}
		if on {
			var b rtnl.Batch
			b.Create(t.gatewayAddr(anyBridge, gw))
			e.there = append(e.there, "host       "+t.named(&b))
		}
	}
	return nil
}
