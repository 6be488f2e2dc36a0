// SPDX-License-Identifier: Apache-2.0

// Package bandwidth is the plugin that limits the traffic of a container.
package bandwidth

import (
	"context"
	"errors"
	"io/fs"
	"strconv"

	"github.com/swiftcni/swiftcni/cni/spec"
	"github.com/swiftcni/swiftcni/internal/fault"
	"github.com/swiftcni/swiftcni/internal/netns"
	"github.com/swiftcni/swiftcni/internal/process"
	"github.com/swiftcni/swiftcni/internal/result"
	"github.com/swiftcni/swiftcni/internal/undo"
	"github.com/swiftcni/swiftcni/internal/verbs"
	"github.com/swiftcni/swiftcni/rtnl"
	"golang.org/x/sys/unix"
)

// The plugin bandwidth limits a container's traffic in both directions, after another plugin has
// attached it by a veth. Packets to the container are shaped where the host's end sends them.
// Packets from it are redirected to an ifb, and shaped there.

// shaping is one attachment whose limits are set or checked.
type shaping struct {
	call       *verbs.Call
	attachment spec.Attachment
	limits     limits
	host       *rtnl.Conn
	hostEnd    rtnl.LinkState
	ifb        rtnl.Link
	undo       undo.List
}

// Add sets the limits.
func (k *Keys) Add(ctx context.Context, c *verbs.Call, a spec.Attachment) (*spec.Result, error) {
	if err := c.CheckFollows(k.err, "must be called as chained plugin"); err != nil {
		return nil, err
	}
	if err := netns.RefuseOwn(process.Of(ctx), a); err != nil {
		return nil, err
	}
	if k.limits == (limits{}) {
		return c.PassOn(), nil
	}
	s, err := k.shaping(ctx, c, a)
	if err != nil {
		return nil, err
	}
	defer process.Of(ctx).CloseRoute(s.host)
	if err := s.shape(); err != nil {
		s.undo.Run()
		return nil, err
	}
	if !k.egress.isSet() {
		return c.PassOn(), nil
	}
	res := result.In(c.Prev, c.CNIVersion)
	res.Interfaces = append(append([]spec.Interface(nil), c.Prev.Interfaces...), spec.Interface{Name: s.ifb.Name, MAC: s.ifb.MAC.String()})
	return res, nil
}

// shaping opens a socket on the host and finds the host's end of the container's link, which the
// result must name.
func (k *Keys) shaping(ctx context.Context, c *verbs.Call, a spec.Attachment) (*shaping, error) {
	if len(c.Prev.Interfaces) == 0 {
		return nil, fault.Key("prevResult", "no interfaces provided")
	}
	call := process.Of(ctx)
	host, err := call.NetNS()
	if err != nil {
		return nil, fault.Wrap("identify the host's network namespace", err)
	}
	inside, err := containerLink(ctx, a, host)
	if err != nil {
		return nil, err
	}
	s := &shaping{call: c, attachment: a, limits: k.limits}
	if s.host, err = call.Route(); err != nil {
		return nil, fault.Wrap("open a netlink socket", err)
	}
	if err := s.findHostEnd(inside); err != nil {
		call.CloseRoute(s.host)
		return nil, err
	}
	return s, nil
}

// containerLink looks at the container's end, which must be a veth's.
func containerLink(ctx context.Context, a spec.Attachment, host rtnl.NetNSID) (rtnl.LinkState, error) {
	ns, err := netns.Open(a, host)
	if err != nil {
		return rtnl.LinkState{}, err
	}
	defer ns.Close()
	conn, err := rtnl.DialWith(ctx, ns, nil)
	if err != nil {
		return rtnl.LinkState{}, fault.Wrap("open a netlink socket in the container", err)
	}
	defer conn.Close()
	l, err := conn.Link(a.IfName)
	if err == nil && (l.Kind != "veth" || l.PeerIndex <= 0) {
		err = errors.New("it is not a veth")
	}
	return l, fault.Wrap("container interface "+a.IfName+" has no veth peer", err)
}

func (s *shaping) findHostEnd(inside rtnl.LinkState) error {
	l, err := s.host.LinkByIndex(inside.PeerIndex)
	if err != nil || l.Kind != "veth" || l.PeerIndex != inside.Index {
		return fault.Wrong("veth peer with index " + strconv.Itoa(inside.PeerIndex) + " is not in host ns")
	}
	for _, i := range s.call.Prev.Interfaces {
		if i.Sandbox == "" && i.Name == l.Name {
			s.hostEnd = l
			return nil
		}
	}
	return fault.Because(fault.Wrong("no veth peer of container interface found in host ns"), "prevResult doesn't name "+strconv.Quote(l.Name))
}

// shape sets the limits. The ifb is made first and alone, since the following changes name it by an
// index that could be another link's. All other changes are one send.
func (s *shaping) shape() error {
	if s.limits.egress.isSet() {
		if err := s.createIfb(); err != nil {
			return err
		}
	}
	var b rtnl.Batch
	var steps []shapingStep
	add := func(step shapingStep, put func()) {
		put()
		steps = append(steps, step)
	}
	if l := s.limits.ingress; l.isSet() {
		q := l.tbf(s.hostEnd.Index)
		add(shapingStep{what: "create qdisc", undo: q, lacks: s.lacksTBF}, func() { b.Create(q) })
	}
	if l := s.limits.egress; l.isSet() {
		ingress, index := rtnl.Ingress{Link: s.hostEnd.Index}, s.ifb.Index
		add(shapingStep{what: "create ifb qdisc", lacks: s.lacksTBF}, func() { b.Create(l.tbf(index)) })
		// A kernel without IPv6 refuses this, and lacks nothing.
		add(shapingStep{}, func() { b.Set(rtnl.Link{Index: index, LinkLocal: rtnl.Off}) })
		add(shapingStep{what: "set the ifb up"}, func() { b.Set(rtnl.Link{Index: index, State: rtnl.Up}) })
		add(shapingStep{what: "create ingress qdisc", undo: ingress, lacks: s.lacksIngress}, func() { b.Create(ingress) })
		add(shapingStep{what: "add filter", lacks: s.lacksFilter}, func() { b.Create(rtnl.Redirect{Link: s.hostEnd.Index, To: index}) })
		// This is the last step. An ifb with an alias to which nothing is redirected is a dead
		// one's.
		add(shapingStep{}, func() { b.Set(rtnl.Link{Index: index, Alias: s.alias()}) })
	}
	return s.settle(steps, s.host.Do(&b))
}

// A shapingStep is a change of a batch, with its name, its undo, and the meaning of its refusal.
type shapingStep struct {
	what  string // empty: it may be refused
	undo  rtnl.Object
	lacks func(error) error
}

// settle notes the changes that were made, to be undone, and returns the first refusal that
// matters.
func (s *shaping) settle(steps []shapingStep, err error) (first error) {
	var refused rtnl.Refused
	if err != nil && !errors.As(err, &refused) {
		return fault.Wrap("limit the bandwidth", err)
	}
	because := make([]error, len(steps))
	for _, e := range refused {
		because[e.Step] = e
	}
	for i, step := range steps {
		switch err := because[i]; {
		case err == nil && step.undo != nil:
			s.undo.Push(step.what, func() error { return s.host.Do(deletion(step.undo)) })
		case err == nil || step.what == "" || first != nil:
		case errors.Is(err, fs.ErrExist):
			first = &spec.Error{Code: spec.CodeAttached, Err: err, Key: "CNI_CONTAINERID",
				Msg: step.what + ": " + strconv.Quote(s.hostEnd.Name) + " has a queueing discipline already (" + err.Error() + ")"}
		case step.lacks != nil:
			first = step.lacks(err)
		default:
			first = fault.Wrap(step.what, err)
		}
	}
	return first
}

// lacking is the error for a kernel that lacks a feature.
func lacking(what string, err error) error {
	return &spec.Error{Code: spec.CodeInternal, Err: err, Msg: "the kernel lacks " + what + ", which a limit needs: " + err.Error()}
}

// lacksTBF, lacksIngress and lacksFilter tell a missing module from other refusals. The kernel says
// ENOENT for an unknown kind, and EOPNOTSUPP if it has no actions on packets at all.
func (s *shaping) lacksTBF(err error) error {
	if errors.Is(err, unix.ENOENT) {
		return lacking("the queueing discipline tbf (CONFIG_NET_SCH_TBF)", err)
	}
	return fault.Wrap("create qdisc", err)
}

func (s *shaping) lacksIngress(err error) error {
	if errors.Is(err, unix.ENOENT) || errors.Is(err, unix.EOPNOTSUPP) {
		return lacking("the queueing discipline ingress (CONFIG_NET_SCH_INGRESS)", err)
	}
	return fault.Wrap("create ingress qdisc", err)
}

func (s *shaping) lacksFilter(err error) error {
	if errors.Is(err, unix.ENOENT) || errors.Is(err, unix.EOPNOTSUPP) {
		return lacking("the filter u32 or the action mirred (CONFIG_NET_CLS_U32, CONFIG_NET_ACT_MIRRED)", err)
	}
	return fault.Wrap("add filter", err)
}

// Del removes the ifb, whatever the configuration says today. The host end's disciplines go with
// the host end, which another plugin removes. Taking them away before would cost an RCU grace
// period, some 5 ms.
func (k *Keys) Del(ctx context.Context, c *verbs.Call, a spec.Attachment) error {
	call := process.Of(ctx)
	conn, err := call.Route()
	if err != nil {
		return fault.Wrap("open a netlink socket", err)
	}
	defer call.CloseRoute(conn)
	ifb, err := findIfb(conn, c.Network, a)
	if fault.Absent(err) {
		return nil
	}
	if err != nil {
		return fault.Wrap("look for the ifb", err)
	}
	return removeIfb(ctx, conn, ifb.Index)
}

// Check compares the limits with those that are set.
func (k *Keys) Check(ctx context.Context, c *verbs.Call, a spec.Attachment) error {
	switch {
	case c.PrevErr != nil:
		return c.PrevErr
	case k.err != nil:
		return k.err
	case c.Prev == nil:
		return fault.Expected("prevResult", "must be called as a chained plugin", "the result of the plugin before")
	case k.limits == (limits{}):
		return nil
	}
	s, err := k.shaping(ctx, c, a)
	if err != nil {
		return err
	}
	defer process.Of(ctx).CloseRoute(s.host)
	if k.ingress.isSet() {
		if err := s.checkTBF(k.ingress.tbf(s.hostEnd.Index), s.hostEnd.Name); err != nil {
			return err
		}
	}
	if !k.egress.isSet() {
		return nil
	}
	if s.ifb, err = findIfb(s.host, c.Network, a); err != nil {
		return fault.Wrap("look for the ifb", err)
	}
	return s.checkTBF(k.egress.tbf(s.ifb.Index), s.ifb.Name)
}

func (s *shaping) checkTBF(want rtnl.TBF, link string) error {
	got, err := s.host.TBF(want.Link)
	switch {
	case errors.Is(err, rtnl.ErrNotTBF):
		return fault.Because(fault.Wrong("Failed to find qdisc"), "on "+strconv.Quote(link))
	case err != nil:
		return fault.Wrap("look at "+strconv.Quote(link), err)
	case got.Rate != want.Rate:
		return fault.Because(fault.Wrong("Rate doesn't match"), "on "+strconv.Quote(link))
	case got.Limit != want.Limit:
		return fault.Because(fault.Wrong("Limit doesn't match"), "on "+strconv.Quote(link))
	case want.Burst == 0 && got.Buffer != want.Buffer:
		return fault.Because(fault.Wrong("Buffer doesn't match"), "on "+strconv.Quote(link))
	}
	return nil
}

// Status returns the first key that is wrong.
func (k *Keys) Status(context.Context, *verbs.Call) error {
	if k.err != nil {
		return k.err
	}
	return nil
}
