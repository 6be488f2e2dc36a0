// SPDX-License-Identifier: Apache-2.0

package veth

import (
	"errors"
	"io/fs"
	"strconv"
	"time"

	"github.com/swiftcni/swiftcni/cni/spec"
	"github.com/swiftcni/swiftcni/internal/calls"
	"github.com/swiftcni/swiftcni/internal/fault"
	"github.com/swiftcni/swiftcni/internal/names"
	"github.com/swiftcni/swiftcni/internal/sysctl"
	"github.com/swiftcni/swiftcni/nft"
	"github.com/swiftcni/swiftcni/rtnl"
	"golang.org/x/sys/unix"
)

// errNameTaken says that a derived name or index belongs to a stranger, and the next ones should be
// tried.
var errNameTaken = errors.New("derived name is taken by another link")

// Bounds of what an attach waits for.
const (
	portTimeout = 3 * time.Second // a port's becoming operational
	idleTimeout = time.Second     // a bridge's, without which it goes on
)

// linkRefused explains why the pair of links couldn't be made.
func (at *attaching) linkRefused(e *rtnl.Error) error {
	nm, ifName := at.names, at.attachment.IfName
	at.undo.Pop() // what isn't ours must not be undone
	switch {
	case e.Errno == unix.EBUSY:
		return errors.Join(errNameTaken, e)
	case errors.Is(e, fs.ErrExist):
		// The kernel says the same of a name that's taken here or there, and of an index that's
		// taken here.
		mac, err := at.conn.MAC(nm.Link)
		if _, taken := at.conn.Name(nm.Index); fault.Absent(err) && taken == nil {
			return errors.Join(errNameTaken, e)
		}
		index, _ := at.conn.Index(nm.Link)
		fixed := names.IsFixed(at.keys.conf.Link.HostName) && index != nm.Index // so no other name can be tried
		if fault.Absent(err) || fixed || at.container.ID() == at.host.NetNS && mac.String() != nm.MAC.String() {
			return &spec.Error{Code: spec.CodeAttached, Err: e, Key: "CNI_IFNAME",
				Msg: "container veth name (" + strconv.Quote(ifName) + ") peer provided (" + strconv.Quote(nm.Link) + ") already exists"}
		}
		if err == nil && (index != nm.Index || mac.String() != nm.MAC.String()) {
			return errors.Join(errNameTaken, e)
		}
		return &spec.Error{Code: spec.CodeAttached, Err: e, Key: "CNI_CONTAINERID",
			Msg: "container " + at.attachment.ContainerID + " is attached to network " + strconv.Quote(at.keys.conf.Name) + " as " + ifName +
				": its link " + nm.Link + " is still there; DEL removes it"}
	}
	return fault.Wrap("failed to make veth pair", e)
}

// removeLink deletes the host end, and with it the container's.
func (at *attaching) removeLink() error {
	var b rtnl.Batch
	b.Delete(rtnl.Link{Index: at.names.Index})
	return at.conn.Do(&b)
}

// rules puts the attachment's elements into the ruleset: one send when its rules are there.
func (at *attaching) rules() error {
	at.enter(calls.Rules)
	if err := at.endStrangers(); err != nil {
		return err
	}
	elements, ok := at.plan.rules()
	if !ok {
		return nil
	}
	conn, err := at.call.Rules()
	if err != nil {
		return fault.Wrap("set up nftables", err)
	}
	defer at.call.CloseRules(conn, at.endedLately)
	if at.newBridge {
		// Nobody was attached before, so the rules aren't there either: a transaction that the
		// kernel refuses first would cost an RCU grace period, about 10 ms.
		out := [2]bool{elements.Outbound[0].IsValid(), elements.Outbound[1].IsValid()}
		if err := conn.Build(nft.Ruleset{Subnets: elements.Masquerade, Outbound: out, Guard: elements.Guard != nil}); err != nil {
			return fault.Wrap("set up nftables", err)
		}
	}
	at.undo.Push("ruleset elements", func() error { return detachElements(elements) })
	return fault.Wrap("set up nftables", conn.Attach(elements))
}

func detachElements(a nft.Sender) error {
	conn, err := nft.Dial()
	if err != nil {
		return err
	}
	defer conn.Close()
	return conn.Detach(a)
}

// containerSide brings the container's link up with its addresses and routes: one send.
func (at *attaching) containerSide() error {
	at.enter(calls.Container)
	p := at.plan
	if err := at.inside.Enter(at.call.OrBackground(), at.container, &p.Link); err != nil {
		return err
	}
	var b rtnl.Batch
	p.containerBatch(&b)
	return at.inside.Do(&p.Link, &b)
}

// portUp waits until the bridge port can forward, so that the container's first packet isn't lost.
// A bridge gets its carrier and its queue by its first port, a little later too: until then it
// drops what the host sends.
func (at *attaching) portUp() error {
	if at.keys.down {
		return nil
	}
	if err := at.conn.WaitUp(at.names.Index, portTimeout); err != nil {
		return fault.Wrap("bridge port in error state", err)
	}
	if at.idleBridge != 0 {
		_ = at.conn.WaitUp(at.idleBridge, idleTimeout) // with spanning tree it takes half a minute
	}
	return nil
}

// forwarding turns on what the host must forward.
func (at *attaching) forwarding() error {
	for _, four := range []bool{true, false} {
		if at.side.forwards(at.plan, four) {
			if err := sysctl.Forward(at.conn, four); err != nil {
				return err
			}
		}
	}
	return nil
}
