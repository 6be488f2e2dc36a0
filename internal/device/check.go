// SPDX-License-Identifier: Apache-2.0

package device

import (
	"context"
	"strconv"

	"github.com/swiftcni/swiftcni/cni/spec"
	"github.com/swiftcni/swiftcni/internal/addresses"
	"github.com/swiftcni/swiftcni/internal/endpoint"
	"github.com/swiftcni/swiftcni/internal/fault"
	"github.com/swiftcni/swiftcni/internal/netconf"
	"github.com/swiftcni/swiftcni/internal/netns"
	"github.com/swiftcni/swiftcni/internal/process"
	"github.com/swiftcni/swiftcni/internal/verbs"
	"github.com/swiftcni/swiftcni/rtnl"
)

// Check finds out whether an attachment is there.
func (k *Keys) Check(ctx context.Context, c *verbs.Call, a spec.Attachment) error {
	if err := netconf.AttachmentError(a); err != nil {
		return err
	}
	if err := k.problem(true); err != nil {
		return err
	}
	switch {
	case c.PrevErr != nil:
		return c.PrevErr
	case c.Prev == nil:
		return fault.Key("prevResult", [...]string{macvlan: "required prevResult missing", ipvlan: "Required prevResult missing",
			vlan: "vlan: Required prevResult missing", dummy: "dummy: Required prevResult missing", tap: "Required prevResult missing"}[k.kind])
	}
	call := process.Of(ctx)
	host, err := call.NetNS()
	if err != nil {
		return fault.Wrap("identify the host's network namespace", err)
	}
	container, err := netns.Open(a, host)
	if err != nil {
		return err
	}
	defer container.Close()
	if from := addresses.Of(k.conf); from != nil {
		if err := from.Check(ctx, c, a); err != nil {
			return err
		}
	}
	recorded, err := endpoint.Recorded(c.Prev, a)
	if err != nil {
		return err
	}
	inside, err := rtnl.DialWith(ctx, container, nil)
	if err != nil {
		return fault.Wrap("open a netlink socket in the container", err)
	}
	defer inside.Close()
	below := inside
	if !k.within {
		if below, err = call.Route(); err != nil {
			return fault.Wrap("open a netlink socket", err)
		}
		defer call.CloseRoute(below)
	}
	m := made{}
	if err := k.ask(inside, recorded.Name, &m); err != nil {
		return err
	}
	if err := k.look(below, recorded, &m); err != nil {
		return err
	}
	return endpoint.Look(inside, rtnl.LinkState{Link: m.Link}, c.Prev)
}

// made is a link as it is.
type made struct {
	rtnl.Link
	parent int
	mode   uint32
	vlan   int
}

// ask gets the link's settings.
func (k *Keys) ask(inside *rtnl.Conn, name string, m *made) (err error) {
	switch k.kind {
	case macvlan:
		l, e := inside.Macvlan(name)
		m.Link, m.parent, m.mode, err = l.Link, l.Parent, uint32(l.Mode), e
	case ipvlan:
		l, e := inside.IPVLAN(name)
		m.Link, m.parent, m.mode, err = l.Link, l.Parent, uint32(l.Mode), e
	case vlan:
		l, e := inside.VLAN(name)
		m.Link, m.parent, m.vlan, err = l.Link, l.Parent, l.ID, e
	case dummy, tap:
		l, e := inside.Link(name)
		m.Link, err = l.Link, e
	}
	switch {
	case fault.Absent(err):
		return fault.Wrap("container interface name in prevResult: "+name+" not found", err)
	case err == rtnl.ErrNotMacvlan || err == rtnl.ErrNotIPVLAN || err == rtnl.ErrNotVLAN || err == nil && m.Kind != k.kind.driver():
		return wrong(name, "is not of type "+k.kind.String())
	}
	return fault.Wrap("failed to lookup container interface "+strconv.Quote(name), err)
}

func wrong(name, what string) error {
	return fault.Wrong("container interface " + strconv.Quote(name) + " " + what)
}

// look compares the link with what was asked for, and what was recorded.
func (k *Keys) look(below *rtnl.Conn, recorded *spec.Interface, m *made) error {
	name, kind, mac := recorded.Name, k.kind.String(), m.MAC.String()
	switch {
	case k.kind == dummy && m.State != rtnl.Up:
		return wrong(name, "is down")
	case recorded.MAC != "" && recorded.MAC != mac:
		return wrong(name, "has MAC "+mac+", which doesn't match prevResult's "+recorded.MAC)
	case m.mode != k.mode:
		return fault.Wrong("container " + kind + " mode " + k.modeText(m.mode) + " does not match expected value: " + k.modeText(k.mode))
	case m.vlan != k.vlan:
		return wrong(name, "is of VLAN "+strconv.Itoa(m.vlan)+", expected "+strconv.Itoa(k.vlan))
	case k.mtu != 0 && k.mtu != m.MTU:
		return wrong(name, "has MTU "+strconv.Itoa(m.MTU)+", expected "+strconv.Itoa(k.mtu))
	case k.kind.alone() || k.master == "": // which may be another one by now
		return nil
	}
	master, err := below.Link(k.master)
	if err != nil {
		return noMaster(k.master, err)
	}
	// A macvlan's or ipvlan's own master stands in for it (macvlan_common_newlink, drivers/net).
	if m.parent != master.Index && !(k.kind != vlan && master.Kind == kind && m.parent == master.PeerIndex) {
		return wrong(name, "isn't on "+strconv.Quote(k.master))
	}
	return nil
}

func noMaster(name string, err error) error {
	e := fault.Of(fault.Wrap("failed to lookup master "+strconv.Quote(name), err))
	e.Key = "master"
	return e
}
