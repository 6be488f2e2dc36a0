// SPDX-License-Identifier: Apache-2.0

// Package tuning is the plugin that sets sysctls of a container's namespace and attributes of its
// link.
package tuning

import (
	"context"
	"errors"
	"os"
	"slices"
	"strconv"
	"strings"

	"github.com/swiftcni/swiftcni/cni/spec"
	"github.com/swiftcni/swiftcni/internal/fault"
	"github.com/swiftcni/swiftcni/internal/netns"
	"github.com/swiftcni/swiftcni/internal/process"
	"github.com/swiftcni/swiftcni/internal/result"
	"github.com/swiftcni/swiftcni/internal/verbs"
	"github.com/swiftcni/swiftcni/rtnl"
)

// Add makes the settings, and keeps the former attributes of the link.
func (k *Keys) Add(ctx context.Context, c *verbs.Call, a spec.Attachment) (*spec.Result, error) {
	t, err := k.check(c, a)
	if err != nil {
		return nil, err
	}
	ns, err := netns.OpenOther(process.Of(ctx), a)
	if err != nil {
		return nil, err
	}
	defer ns.Close()
	if len(t.settings) > 0 || t.changesLink() {
		conn, err := t.set(ctx, ns)
		if err != nil {
			return nil, err
		}
		defer conn.Close()
		if err := k.change(c, a, t, conn); err != nil {
			return nil, err
		}
	}
	return t.result(c, a), nil
}

// check returns the requested state, or the first error in the configuration.
func (k *Keys) check(c *verbs.Call, a spec.Attachment) (*tuning, error) {
	switch {
	case c.PrevErr != nil:
		return nil, c.PrevErr
	case k.err == nil && c.Prev == nil:
		return nil, fault.Key("prevResult", "Required prevResult missing")
	}
	return k.tuning(a)
}

// set writes the sysctls, inside, and leaves a socket there. A refused sysctl is an error. Those
// before it stay written, as nobody knows their right values.
func (t *tuning) set(ctx context.Context, ns *rtnl.NetNS) (*rtnl.Conn, error) {
	settings := slices.Clone(t.settings)
	conn, err := rtnl.DialWith(ctx, ns, settings)
	if err != nil {
		return nil, fault.Wrap("open a netlink socket in the container", err)
	}
	for i, s := range settings {
		if s.Err != nil {
			conn.Close()
			return nil, &spec.Error{Code: spec.CodeInternal, Msg: s.Err.Error(), Details: "set sysctl " + t.sysctls[i].key + " to " + strconv.Quote(s.Value),
				Key: "sysctl." + t.sysctls[i].key, Err: s.Err}
		}
	}
	return conn, nil
}

// change saves the link's attributes, and changes them by one message.
func (k *Keys) change(c *verbs.Call, a spec.Attachment, t *tuning, conn *rtnl.Conn) error {
	if !t.changesLink() {
		return nil
	}
	was, err := conn.Link(a.IfName)
	if err != nil {
		return fault.Wrap("failed to get "+strconv.Quote(a.IfName), err)
	}
	old := before(was.Link, t.link)
	created, err := k.save(c, a, old)
	if err != nil {
		return err
	}
	var b rtnl.Batch
	b.Set(t.link)
	if err := conn.Do(&b); err != nil {
		// One message may have made only a part of its changes.
		var undo rtnl.Batch
		undo.Set(old)
		err = errors.Join(fault.Wrap("change "+strconv.Quote(a.IfName), err), fault.Wrap("undo", conn.Do(&undo)))
		if created {
			err = errors.Join(err, k.forget(a))
		}
		return err
	}
	return nil
}

// result is the previous plugin's, with the MAC as it was requested.
func (t *tuning) result(c *verbs.Call, a spec.Attachment) *spec.Result {
	if t.mac == "" || len(c.Prev.Interfaces) == 0 {
		return c.PassOn()
	}
	res := result.In(c.Prev, c.CNIVersion)
	res.Interfaces = slices.Clone(res.Interfaces)
	for i := range res.Interfaces {
		if res.Interfaces[i].Name == a.IfName {
			res.Interfaces[i].MAC = t.mac
		}
	}
	return res
}

// Del gives a link that still exists its former attributes back, and removes the saved data in any
// case. Sysctls die with the namespace.
func (k *Keys) Del(ctx context.Context, _ *verbs.Call, a spec.Attachment) error {
	s, err := k.load(a)
	var anothers *anothersError
	switch {
	case errors.As(err, &anothers):
		return nil
	case err != nil:
		return k.forget(a)
	}
	return errors.Join(restore(ctx, a, s.link), k.forget(a))
}

// restore does its best: a link that is gone needs nothing.
func restore(ctx context.Context, a spec.Attachment, l rtnl.Link) error {
	if a.NetNS == "" {
		return nil
	}
	ns, err := netns.OpenOther(process.Of(ctx), a)
	if netns.Gone(err) {
		return nil
	}
	if err != nil {
		return err
	}
	defer ns.Close()
	conn, err := rtnl.Dial(ns)
	if err != nil {
		return fault.Wrap("open a netlink socket in the container", err)
	}
	defer conn.Close()
	var b rtnl.Batch
	b.Set(l)
	_ = conn.Do(&b)
	return nil
}

// Check compares the requested state with the present one.
func (k *Keys) Check(ctx context.Context, c *verbs.Call, a spec.Attachment) error {
	t, err := k.check(c, a)
	if err != nil {
		return err
	}
	ns, err := netns.OpenOther(process.Of(ctx), a)
	if err != nil {
		return err
	}
	defer ns.Close()
	if err := ns.Do(t.checkSysctls); err != nil {
		return err
	}
	if !t.changesLink() {
		return nil
	}
	conn, err := rtnl.Dial(ns)
	if err != nil {
		return fault.Wrap("open a netlink socket in the container", err)
	}
	defer conn.Close()
	l, err := conn.Link(a.IfName)
	if err != nil {
		return fault.Wrap("Cannot find container link "+a.IfName, err)
	}
	return t.checkLink(l.Link)
}

// checkSysctls compares words: the kernel puts tabs between them.
func (t *tuning) checkSysctls() error {
	for _, s := range t.settings {
		text, err := os.ReadFile(s.Path)
		if err != nil {
			return fault.Wrap("read a sysctl", err)
		}
		if now := strings.TrimSuffix(string(text), "\n"); !slices.Equal(strings.Fields(now), strings.Fields(s.Value)) {
			return differs("value of "+s.Path, s.Value, now)
		}
	}
	return nil
}

func differs(what, want, now string) error {
	return &spec.Error{Code: spec.CodeInternal, Msg: "Error: Tuning configured " + what + " is " + want + ", current value is " + now}
}

// checkLink compares the requested attributes. Promiscuity that wasn't requested is a capture's.
func (t *tuning) checkLink(l rtnl.Link) error {
	want := &t.link
	switch {
	case want.MAC != nil && want.MAC.String() != l.MAC.String():
		return differs("Ethernet of "+want.Name, t.mac, l.MAC.String())
	case want.MTU != 0 && want.MTU != l.MTU:
		return differs("MTU of "+want.Name, strconv.Itoa(want.MTU), strconv.Itoa(l.MTU))
	case want.Promisc == rtnl.On && l.Promisc != rtnl.On:
		return differs("promisc of "+want.Name, "true", "false")
	case want.AllMulticast != rtnl.Unset && want.AllMulticast != l.AllMulticast:
		return differs("allmulti of "+want.Name, strconv.FormatBool(want.AllMulticast == rtnl.On), strconv.FormatBool(l.AllMulticast == rtnl.On))
	case want.TxQueueLen != 0 && want.TxQueueLen != l.TxQueueLen:
		return differs("txQLen of "+want.Name, strconv.Itoa(max(want.TxQueueLen, 0)), strconv.Itoa(max(l.TxQueueLen, 0)))
	}
	return nil
}

// GC removes the saved data of attachments that aren't valid.
func (k *Keys) GC(_ context.Context, c *verbs.Call, valid []spec.Attachment) error {
	return k.forgetExcept(c, valid)
}

// Reclaim removes the saved data of attachments that are provably dead.
func (k *Keys) Reclaim(_ context.Context, c *verbs.Call) error {
	_, err := ForgetDead(k.dataDir, []string{c.Network}, false)
	return err
}

// Status returns the first error in the keys, or of the directory.
func (k *Keys) Status(context.Context, *verbs.Call) error {
	if _, err := k.tuning(spec.Attachment{IfName: "eth0"}); err != nil {
		return err
	}
	if err := fault.Writable(k.dataDir); err != nil {
		return fault.Unavailable("the directory for saved attributes can't be used", err)
	}
	return nil
}
