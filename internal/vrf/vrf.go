// SPDX-License-Identifier: Apache-2.0

// Package vrf is the plugin that makes a container's link a port of a VRF, after another plugin has
// attached the container. The link's routes are then in the VRF's own table.
package vrf

import (
	"context"
	"errors"
	"strconv"

	"github.com/swiftcni/swiftcni/cni/spec"
	"github.com/swiftcni/swiftcni/internal/fault"
	"github.com/swiftcni/swiftcni/internal/names"
	"github.com/swiftcni/swiftcni/internal/netns"
	"github.com/swiftcni/swiftcni/internal/process"
	"github.com/swiftcni/swiftcni/internal/undo"
	"github.com/swiftcni/swiftcni/internal/verbs"
	"github.com/swiftcni/swiftcni/rtnl"
	"golang.org/x/sys/unix"
)

// noResult is the error if the plugin follows none.
const noResult = "missing prevResult from earlier plugin"

// A visit is one call's look into its container. It keeps the container locked against other calls
// of the plugin.
type visit struct {
	keys   *Keys
	ifName string
	ns     *rtnl.NetNS
	conn   *rtnl.Conn

	link  rtnl.LinkState // its Index is 0 if it's gone
	vrf   rtnl.VRF       // its Index is 0 if there's none
	isVRF bool           // or else a link of another kind has the name
}

// enter opens and locks the container's namespace, and looks for the link and the VRF.
func (k *Keys) enter(ctx context.Context, a spec.Attachment) (*visit, error) {
	v := &visit{keys: k, ifName: a.IfName}
	var err error
	if v.ns, err = netns.OpenOther(process.Of(ctx), a); err != nil {
		return nil, err
	}
	if err = netns.Lock(ctx, v.ns); err == nil {
		if v.conn, err = rtnl.DialWith(ctx, v.ns, nil); err == nil {
			err = v.look()
		}
	}
	if err != nil {
		v.leave()
		return nil, fault.Wrap("look into the container", err)
	}
	return v, nil
}

func (v *visit) leave() {
	if v.conn != nil {
		v.conn.Close()
	}
	v.ns.Close()
}

func (v *visit) look() (err error) {
	if v.link, err = v.conn.Link(v.ifName); err != nil && !fault.Absent(err) {
		return err
	}
	v.vrf, err = v.conn.VRF(v.keys.name)
	v.isVRF = err == nil
	if err == rtnl.ErrNotVRF || fault.Absent(err) {
		return nil
	}
	return err
}

// Add makes the link a port of the VRF, and makes the VRF if it's missing.
func (k *Keys) Add(ctx context.Context, c *verbs.Call, a spec.Attachment) (*spec.Result, error) {
	if err := c.CheckFollows(k.err, noResult); err != nil {
		return nil, err
	}
	v, err := k.enter(ctx, a)
	if err != nil {
		return nil, err
	}
	defer v.leave()
	if err = v.refuse(); err == nil {
		var undo undo.List
		if err = v.join(&undo); err != nil {
			undo.Run()
		}
	}
	if err != nil {
		return nil, fault.During("cmdAdd failed", fault.Of(err))
	}
	return c.PassOn(), nil
}

// refuse returns the first reason not to begin.
func (v *visit) refuse() error {
	k := v.keys
	switch {
	case v.vrf.Index != 0 && !v.isVRF:
		return fault.Key("vrfname", "Netlink "+k.name+" is not a VRF")
	case v.isVRF && k.table != 0 && v.vrf.Table != k.table:
		return fault.Key("table", "VRF "+k.name+" already exist with different routing table "+strconv.FormatUint(uint64(v.vrf.Table), 10))
	case v.link.Index == 0:
		return fault.Wrong("could not get link by name " + v.ifName)
	case v.link.Master != 0:
		master, err := v.conn.Name(v.link.Master)
		if err != nil {
			return fault.Wrap("interface "+v.ifName+" has already a master set, could not retrieve the name", err)
		}
		e := fault.Wrong("interface " + v.ifName + " has already a master set: " + master)
		if v.isIn() {
			e.Code, e.Key = spec.CodeAttached, "CNI_IFNAME"
		}
		return e
	}
	return nil
}

// isIn reports whether the link is a port of the VRF.
func (v *visit) isIn() bool { return v.isVRF && v.link.Master == v.vrf.Index }

// join makes all changes. The kernel takes the link down and up when it becomes a port, and when it
// ceases to be one.
func (v *visit) join(undo *undo.List) error {
	was, err := v.state(rtnl.TableMain)
	if err != nil {
		return err
	}
	if !v.isVRF {
		undo.Push("create VRF", func() error { return v.do(func(b *rtnl.Batch) { b.Delete(v.vrf.Link) }) })
		if err := v.create(); err != nil {
			return err
		}
	}
	undo.Push("set master", func() error {
		if err := v.setMaster(rtnl.NoMaster); err != nil {
			return err
		}
		return v.restore(was, rtnl.TableMain)
	})
	if err := v.setMaster(v.vrf.Index); err != nil {
		return fault.Wrap("could not set vrf "+v.keys.name+" as master of "+v.ifName, err)
	}
	if err := v.restore(was, v.vrf.Table); err != nil {
		return err
	}
	if v.link.OperState == rtnl.OperUp {
		_ = v.conn.WaitUp(v.link.Index, carrierTimeout) // it has its carrier again, and can send
	}
	return nil
}

func (v *visit) do(fill func(b *rtnl.Batch)) error {
	var b rtnl.Batch
	fill(&b)
	return v.conn.Do(&b)
}

func (v *visit) setMaster(index int) error {
	return v.do(func(b *rtnl.Batch) {
		if v.vrf.State != rtnl.Up { // somebody took it down, and with it all of its routes
			b.Set(rtnl.Link{Index: v.vrf.Index, State: rtnl.Up})
		}
		b.Set(rtnl.Link{Index: v.link.Index, Master: index})
	})
}

// create makes the VRF, and up in the same message.
func (v *visit) create() error {
	name, table := v.keys.name, v.keys.table
	if table == 0 {
		var err error
		if table, err = v.freeTable(); err != nil {
			return err
		}
	}
	v.vrf = rtnl.VRF{Link: rtnl.Link{Name: name}}
	err := v.do(func(b *rtnl.Batch) { b.Create(rtnl.VRF{Link: rtnl.Link{Name: name, State: rtnl.Up}, Table: table}) })
	if err == nil {
		v.vrf, err = v.conn.VRF(name)
	}
	e := fault.Wrap("could not add VRF "+name, err)
	switch {
	case errors.Is(err, unix.EOPNOTSUPP):
		return fault.Because(fault.Of(e), "the kernel lacks VRFs (CONFIG_NET_VRF)")
	case errors.Is(err, unix.EBUSY):
		return fault.Because(fault.Of(e), "another VRF has table "+strconv.FormatUint(uint64(table), 10)+", and net.vrf.strict_mode is 1")
	}
	return e
}

// freeTable is the first table that no VRF has, that no rule leads to and that has no routes, and
// that isn't the kernel's.
func (v *visit) freeTable() (uint32, error) {
	taken := map[uint32]bool{unix.RT_TABLE_DEFAULT: true, unix.RT_TABLE_MAIN: true, unix.RT_TABLE_LOCAL: true}
	for other, err := range v.conn.VRFs() {
		if err != nil {
			return 0, fault.Wrap("createVRF: Failed to find links", err)
		}
		taken[other.Table] = true
	}
	for r, err := range v.conn.Rules(0) {
		if err != nil {
			return 0, fault.Wrap("list rules", err)
		}
		taken[r.Table] = true
	}
	for r, err := range v.conn.Routes(rtnl.RouteFilter{AnyTable: true}) {
		if err != nil {
			return 0, fault.Wrap("list routes", err)
		}
		taken[r.Table] = true
	}
	table := uint32(1)
	for taken[table] {
		table++
	}
	return table, nil
}

// Del takes the link out of the VRF. The last port takes the VRF along.
func (k *Keys) Del(ctx context.Context, _ *verbs.Call, a spec.Attachment) error {
	if a.NetNS == "" || names.LinkProblem(k.name) != "" {
		return nil
	}
	v, err := k.enter(ctx, a)
	if netns.Gone(err) {
		return nil
	}
	if err != nil {
		return err
	}
	defer v.leave()
	if !v.isVRF {
		return nil
	}
	last := true
	for port, err := range v.conn.Links(rtnl.LinkFilter{Master: v.vrf.Index}) {
		if err != nil {
			return fault.Wrap("getAssignedInterfaces: Failed to find links", err)
		}
		last = last && port.Index == v.link.Index
	}
	err = v.do(func(b *rtnl.Batch) {
		switch {
		case last: // its port is released first
			b.Delete(rtnl.Link{Index: v.vrf.Index})
		case v.isIn():
			b.Set(rtnl.Link{Index: v.link.Index, Master: rtnl.NoMaster})
		}
	})
	if err != nil && !fault.OnlyAbsent(err) {
		return fault.Wrap("take "+a.IfName+" out of VRF "+k.name, err)
	}
	return nil
}

// Check finds the link in the VRF, and the VRF with its table.
func (k *Keys) Check(ctx context.Context, c *verbs.Call, a spec.Attachment) error {
	if err := c.CheckFollows(k.err, noResult); err != nil {
		return err
	}
	v, err := k.enter(ctx, a)
	if err != nil {
		return err
	}
	defer v.leave()
	switch {
	case v.vrf.Index == 0:
		return fault.Because(fault.Wrong("Link not found"), "there's no VRF "+k.name)
	case !v.isVRF:
		return fault.Wrong("Netlink " + k.name + " is not a VRF")
	case !v.isIn():
		return fault.Wrong("failed to find " + a.IfName + " associated to vrf " + k.name)
	case k.table != 0 && v.vrf.Table != k.table:
		return fault.Wrong("VRF " + k.name + " has table " + strconv.FormatUint(uint64(v.vrf.Table), 10) + ", and should have " + strconv.FormatUint(uint64(k.table), 10))
	case v.vrf.State != rtnl.Up:
		return fault.Wrong("VRF " + k.name + " is down")
	}
	return nil
}
