// SPDX-License-Identifier: Apache-2.0

package endpoint

import (
	"context"
	"errors"
	"time"

	"github.com/swiftcni/swiftcni/cni/spec"
	"github.com/swiftcni/swiftcni/internal/fault"
	"github.com/swiftcni/swiftcni/internal/sysctl"
	"github.com/swiftcni/swiftcni/rtnl"
)

// A Setting is a file below /proc/sys and what it must hold.
type Setting struct {
	Name, Value string
	Must        bool // its failure is an error
	Late        bool // it's set once the link is up and its addresses are in use
}

// Settings are the container's, set while its link is there and still down.
//
// Duplicate address detection of the link's own IPv6 address would keep it tentative for a second
// or two, which matters where IPv6 is used. Elsewhere it's left to the kernel: without it the first
// multicasts of that address are sent while the link comes up, to each port of the bridge, which
// took an attach half a millisecond at a hundred ports.
func (l *Link) Settings() []Setting {
	link := l.Name
	var list []Setting
	switch {
	case l.DAD == WithDAD:
		list = append(list, Setting{Name: sysctl.IPv6(link, "enhanced_dad"), Value: "1"}, Setting{Name: sysctl.IPv6(link, "accept_dad"), Value: "1"})
	case l.DAD == WithoutDAD && (l.Phase == Asking || l.HasIPv6()):
		list = append(list, Setting{Name: sysctl.IPv6(link, "accept_dad"), Value: "0"})
	}
	if l.Phase == Answered && l.NoLinkLocal && l.HasIPv6() {
		list = append(list, Setting{Name: sysctl.IPv6(link, "addr_gen_mode"), Value: "0"}) // which makes the address at once
	}
	if l.HasIPv6() {
		list = append(list,
			Setting{Name: sysctl.IPv6("lo", "disable_ipv6"), Value: "0", Must: true},
			Setting{Name: sysctl.IPv6(link, "disable_ipv6"), Value: "0", Must: true},
			Setting{Name: sysctl.IPv6(link, "keep_addr_on_down"), Value: "1", Must: true},
			// As arp_notify, which says when the MAC changes: the host was told of the MAC that the
			// link has now.
			Setting{Name: sysctl.IPv6(link, "ndisc_notify"), Value: "1", Late: !l.AtOnce})
	}
	return list
}

// Inside is the way into a container: a socket there, and settings that are made at the end. Its
// zero value is closed.
type Inside struct {
	Conn *rtnl.Conn
	late []rtnl.Sysctl
}

// Enter makes a link's settings, which have no netlink form, and opens a socket in the container.
// What is open already stays so if there's nothing to set.
func (i *Inside) Enter(ctx context.Context, ns *rtnl.NetNS, l *Link) error {
	settings := l.Settings()
	if i.Conn != nil {
		if len(settings) == 0 {
			return nil
		}
		i.Leave()
	}
	files := make([]rtnl.Sysctl, len(settings))
	for i, s := range settings {
		files[i] = rtnl.Sysctl{Path: "/proc/sys/" + s.Name, Value: s.Value, Later: s.Late}
	}
	conn, err := rtnl.DialWith(ctx, ns, files)
	if err != nil {
		return fault.Wrap("open a netlink socket in the container", err)
	}
	i.Conn, i.late = conn, files
	for i, f := range files {
		if f.Err != nil && settings[i].Must {
			return fault.Wrap("failed to set up the container's link", f.Err)
		}
	}
	return nil
}

// Leave closes what Enter has opened.
func (i *Inside) Leave() {
	for j := range i.late {
		i.late[j].Drop()
	}
	if i.Conn != nil {
		i.Conn.Close()
	}
	i.Conn, i.late = nil, nil
}

// Do sends a link's changes. The kernel knows the link by number, the reader by name.
func (i *Inside) Do(l *Link, b *rtnl.Batch) error {
	if b.Len() == 0 {
		return nil
	}
	err := i.Conn.Do(b)
	if err == nil {
		return nil
	}
	return &spec.Error{Code: spec.CodeInternal, Msg: "failed to set up the container's link: " + l.named(err.Error()), Err: err}
}

// Bounds of what an attachment with IPv6 addresses waits for.
const (
	dadTimeout       = 5 * time.Second        // duplicate address detection
	inUseTimeout     = time.Second            // it goes on without
	linkLocalTimeout = 100 * time.Millisecond // likewise, unless the container's own settings have it looked for duplicates of
)

// AwaitIPv6 waits until the link's IPv6 addresses are in use. Its link-local address comes when the
// link has a carrier, and with it the container tells what it listens to (ipv6_mc_dad_complete,
// net/ipv6/mcast.c).
func (i *Inside) AwaitIPv6(l *Link) error {
	switch {
	case !l.HasIPv6():
		return nil
	case l.DAD != WithoutDAD:
		if l.DAD == AsItIs && !l.GatewayOf(false).IsValid() {
			return nil
		}
		err := i.Conn.WaitDAD(l.Index, dadTimeout)
		if l.DAD == AsItIs && !i.isUp(l, err) {
			return nil
		}
		if err != nil {
			return fault.Wrap("duplicate address detection", err)
		}
	case l.NoCarrier:
	case i.Conn.WaitUp(l.Index, linkLocalTimeout) == nil:
		_ = i.Conn.WaitDAD(l.Index, linkLocalTimeout)
	}
	for _, ip := range l.IPs {
		if addr := ip.Address.Addr(); addr.Is6() {
			_ = i.Conn.WaitLocal(addr, inUseTimeout)
		}
	}
	return nil
}

// isUp reports whether a detection that didn't end could have: without a carrier it never does.
func (i *Inside) isUp(l *Link, err error) bool {
	var late *rtnl.DADTimeoutError
	if !errors.As(err, &late) {
		return true
	}
	state, err := i.Conn.LinkByIndex(l.Index)
	return err == nil && state.OperState == rtnl.OperUp
}

// Finish makes the settings that were left for the end.
func (i *Inside) Finish() {
	for j := range i.late {
		_ = i.late[j].Finish()
	}
}
