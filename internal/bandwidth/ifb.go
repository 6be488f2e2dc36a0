// SPDX-License-Identifier: Apache-2.0

package bandwidth

import (
	"context"
	"encoding/hex"
	"errors"
	"io/fs"
	"strconv"

	"github.com/swiftcni/swiftcni/cni/spec"
	"github.com/swiftcni/swiftcni/internal/fault"
	"github.com/swiftcni/swiftcni/internal/names"
	"github.com/swiftcni/swiftcni/internal/sha512"
	"github.com/swiftcni/swiftcni/internal/verbs"
	"github.com/swiftcni/swiftcni/rtnl"
	"golang.org/x/sys/unix"
)

// A container's packets pass an ifb on their way to the host, since only packets that a link sends
// can be shaped. The reference names the ifb by network and container. So a container's second
// attachment to a network can't have that name, and gets one of its own. The ifb's index and MAC
// tell its owner, as with the host ends of veths.

// IfbNames are the names that an attachment's ifb can have: the reference's, and our own.
func IfbNames(network string, a spec.Attachment) [2]string {
	name := func(of string) string {
		sum := sha512.Sum512([]byte(of))
		return "bwp" + hex.EncodeToString(sum[:6])
	}
	return [2]string{name(network + a.ContainerID), name(network + "\x00" + a.ContainerID + "\x00" + a.IfName)}
}

// ifbOf are the index and the MAC of an attachment's ifb.
func ifbOf(network string, a spec.Attachment, attempt int) names.Names {
	return names.Of(network, a.ContainerID, "ifb of "+a.IfName, attempt)
}

// isIfbOf reports whether a link is the ifb that this package made for an attachment.
func isIfbOf(network string, a spec.Attachment, l rtnl.Link) bool {
	for attempt := range names.Attempts {
		if nm := ifbOf(network, a, attempt); l.Index == nm.Index && l.MAC.String() == nm.MAC.String() {
			return true
		}
	}
	return false
}

// findIfb returns the attachment's ifb, whichever program made it. One without an index of ours is
// the reference's, and serves every interface of the container.
func findIfb(conn *rtnl.Conn, network string, a spec.Attachment) (rtnl.Link, error) {
	for _, name := range IfbNames(network, a) {
		l, err := conn.Link(name)
		if fault.Absent(err) {
			continue
		}
		if err != nil || l.Kind == "ifb" && (l.Index < names.Least || isIfbOf(network, a, l.Link)) {
			return l.Link, err
		}
	}
	for attempt := range names.Attempts {
		l, err := conn.LinkByIndex(ifbOf(network, a, attempt).Index)
		if err == nil && l.Kind == "ifb" && isIfbOf(network, a, l.Link) {
			return l.Link, nil // it was renamed
		}
	}
	return rtnl.Link{}, fs.ErrNotExist
}

// removeIfb returns when the link is unlisted.
func removeIfb(ctx context.Context, conn *rtnl.Conn, index int) error {
	if err := conn.Remove(ctx, index); err != nil && !fault.Absent(err) {
		return fault.Wrap("failed to delete the ifb", err)
	}
	return nil
}

// createIfb makes the link, down and with its shaper. A discipline on a link that is up costs an
// RCU grace period.
func (s *shaping) createIfb() error {
	known, which := IfbNames(s.call.Network, s.attachment), 0
	for attempt := 0; attempt < names.Attempts; {
		nm := ifbOf(s.call.Network, s.attachment, attempt)
		s.ifb = rtnl.Link{Kind: "ifb", Index: nm.Index, Name: known[which], MAC: nm.MAC, MTU: s.hostEnd.MTU, TxQueueLen: rtnl.NoTxQueue}
		var b rtnl.Batch
		b.Create(s.ifb)
		err := s.host.Do(&b)
		if err == nil {
			s.undo.Push("ifb", func() error { return s.host.Do(deletion(rtnl.Link{Index: nm.Index})) })
			return nil
		}
		if errors.Is(err, unix.EOPNOTSUPP) {
			return lacking("ifb links (CONFIG_IFB)", err)
		}
		if !errors.Is(err, fs.ErrExist) {
			return fault.Wrap("adding link", err)
		}
		switch there, lookUp := s.host.Link(known[which]); {
		case fault.Absent(lookUp):
			attempt++ // another link has the index
		case lookUp != nil:
			return fault.Wrap("failed to lookup "+strconv.Quote(known[which]), lookUp)
		case there.Kind == "ifb" && (there.Index < names.Least || isIfbOf(s.call.Network, s.attachment, there.Link)):
			if err := s.replaceIfb(there.Link, err); err != nil {
				return err
			}
			attempt++ // and this ends the loop if another program makes it again and again
		case which == 0:
			which = 1
		default:
			return fault.Wrap("adding link", err)
		}
	}
	return fault.Wrong("adding link: all names for an ifb are taken")
}

// replaceIfb removes the ifb of an attachment that ended without DEL. If refused says that the host
// end's packets are redirected, it's in use.
func (s *shaping) replaceIfb(there rtnl.Link, cause error) error {
	err := s.host.Do(creation(rtnl.Ingress{Link: s.hostEnd.Index}))
	if errors.Is(err, fs.ErrExist) {
		return &spec.Error{Code: spec.CodeAttached, Key: "CNI_CONTAINERID", Err: cause,
			Msg: "adding link: the bandwidth of " + s.attachment.IfName + " is limited already by " + strconv.Quote(there.Name) + "; DEL removes it"}
	}
	if err == nil {
		err = s.host.Do(deletion(rtnl.Ingress{Link: s.hostEnd.Index}))
	}
	if err != nil {
		return s.lacksIngress(err)
	}
	if err := s.host.Do(deletion(rtnl.Link{Index: there.Index})); err != nil && !fault.Absent(err) { // GC may be faster
		return fault.Wrap("remove a stale ifb", err)
	}
	return nil
}

func (s *shaping) alias() string {
	return names.Alias(s.call.Owner(s.attachment))
}

func creation(o rtnl.Object) *rtnl.Batch {
	var b rtnl.Batch
	b.Create(o)
	return &b
}

func deletion(o rtnl.Object) *rtnl.Batch {
	var b rtnl.Batch
	b.Delete(o)
	return &b
}

// GC removes the ifbs of attachments that aren't valid. The reference's ifbs don't name their owner.
func (k *Keys) GC(_ context.Context, c *verbs.Call, valid []spec.Attachment) error {
	used := ifbsOf(c.Network, valid)
	return k.removeIfbs(c.Network, func(*rtnl.Conn) (func(rtnl.Link) bool, error) {
		return func(l rtnl.Link) bool { return used[l.Index] }, nil
	})
}

// Reclaim removes the ifbs to which no link redirects any more: their host end is gone.
func (k *Keys) Reclaim(_ context.Context, c *verbs.Call) error {
	return k.removeIfbs(c.Network, func(conn *rtnl.Conn) (func(rtnl.Link) bool, error) {
		used, err := redirectedTo(conn)
		// One without an alias may be about to be used.
		return func(l rtnl.Link) bool { return used[l.Index] || l.Alias == "" }, err
	})
}

// removeIfbs removes the ifbs of a network, except those that it keeps. keeps is asked if there are
// any. They are put in a group, and looked at again there, and then the group is deleted. So an
// attachment that comes back meanwhile keeps its ifb, which may have the index of the one before.
func (k *Keys) removeIfbs(network string, keeps func(*rtnl.Conn) (func(rtnl.Link) bool, error)) error {
	if k.err != nil {
		return k.err
	}
	conn, err := rtnl.Dial(nil)
	if err != nil {
		return fault.Wrap("open a netlink socket", err)
	}
	defer conn.Close()
	for group := uint32(0); ; {
		var list []rtnl.Link
		for l, err := range conn.Links(rtnl.LinkFilter{Kind: "ifb"}) {
			if err != nil {
				return fault.Wrap("list links", err)
			}
			if names.InNetwork(network, l.Link) && (group == 0 || l.Group == group) {
				list = append(list, l.Link)
			}
		}
		if len(list) == 0 {
			return nil
		}
		keep, err := keeps(conn)
		if err != nil {
			return err
		}
		next, err := names.UnusedGroup()
		if err != nil {
			return err
		}
		var b rtnl.Batch
		for _, l := range list {
			if !keep(l) {
				b.Set(rtnl.Link{Index: l.Index, Group: next})
			}
		}
		sure := group != 0 && b.Len() == len(list)
		switch {
		case b.Len() == 0:
			return nil
		case sure:
			b = *deletion(rtnl.Link{Group: group})
		}
		if err := conn.Do(&b); err != nil && !fault.OnlyAbsent(err) {
			return fault.Wrap("delete links", err)
		}
		if sure {
			return nil
		}
		group = next
	}
}

// ifbsOf are the indexes that attachments' ifbs can have.
func ifbsOf(network string, valid []spec.Attachment) map[int]bool {
	used := map[int]bool{}
	for _, a := range valid {
		for attempt := range names.Attempts {
			used[ifbOf(network, a, attempt).Index] = true
		}
	}
	return used
}

// redirectedTo are the indexes of links that some veth's packets are redirected to.
func redirectedTo(conn *rtnl.Conn) (map[int]bool, error) {
	var veths []int
	for l, err := range conn.Links(rtnl.LinkFilter{Kind: "veth"}) {
		if err != nil {
			return nil, fault.Wrap("list links", err)
		}
		veths = append(veths, l.Index)
	}
	used := map[int]bool{}
	for _, index := range veths {
		for r, err := range conn.Redirects(index) {
			if err != nil && !fault.Absent(err) { // a link may go meanwhile
				return nil, fault.Wrap("list filters", err)
			}
			used[r.To] = true
		}
	}
	return used, nil
}
