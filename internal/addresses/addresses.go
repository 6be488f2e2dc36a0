// SPDX-License-Identifier: Apache-2.0

// Package addresses asks whichever IPAM plugin a network names, for plugins whose links end with
// their container.
//
// A lease of host-local has the boot as its only evidence then: what was leased before a reboot is
// provably dead.
package addresses

import (
	"context"
	"time"

	"github.com/swiftcni/swiftcni/cni/spec"
	"github.com/swiftcni/swiftcni/internal/delegate"
	"github.com/swiftcni/swiftcni/internal/dhcp"
	"github.com/swiftcni/swiftcni/internal/hostid"
	"github.com/swiftcni/swiftcni/internal/hostlocal"
	"github.com/swiftcni/swiftcni/internal/names"
	"github.com/swiftcni/swiftcni/internal/netconf"
	"github.com/swiftcni/swiftcni/internal/process"
	"github.com/swiftcni/swiftcni/internal/proof"
	"github.com/swiftcni/swiftcni/internal/rules"
	"github.com/swiftcni/swiftcni/internal/static"
	"github.com/swiftcni/swiftcni/internal/verbs"
	"github.com/swiftcni/swiftcni/ipam"
	"github.com/swiftcni/swiftcni/rtnl"
)

// Of is the plugin that gives a network's addresses, or nil where it has none.
func Of(n *netconf.Network) verbs.Plugin {
	switch n.IPAM.Plugin {
	case "":
		return nil
	case netconf.HostLocal:
		return hostlocal.Of(n)
	case netconf.Static:
		return static.Of(n)
	case netconf.DHCP:
		return dhcp.Read(n)
	}
	return delegate.Of(n)
}

// Another finds another program that gives the network's addresses: an IPAM plugin, or dhcp's daemon.
// nil is none.
func Another(ctx context.Context, n *netconf.Network) (verbs.Plugin, error) {
	if !n.Delegates() {
		return nil, nil
	}
	from := Of(n)
	if program, ok := from.(*delegate.Plugin); ok {
		_, err := program.Find(ctx)
		return from, err
	}
	return from, nil
}

// giveBackTimeout bounds what takes an ADD back whose caller waits no more. It's far beyond what an
// IPAM plugin needs.
const giveBackTimeout = time.Minute

// GiveBack takes back what a plugin was asked for, whether or not that has failed: nobody else will
// know what it may have reserved. The specification demands it (section 4). It goes on though the
// caller waits no more.
func GiveBack(ctx context.Context, from verbs.Plugin, a spec.Attachment) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), giveBackTimeout)
	defer cancel()
	return from.Del(ctx, nil, a)
}

// Give asks host-local or static for an attachment's addresses. There's no error without one. conn
// is in the host's namespace.
func Give(ctx context.Context, n *netconf.Network, a spec.Attachment, host hostid.ID, conn *rtnl.Conn) (*spec.Result, error) {
	if n.IPAM.Plugin == netconf.Static {
		return static.Of(n).Give(a)
	}
	return hostlocal.Of(n).Lease(ctx, a, ipam.Request{
		OtherMAC: true,
		Record:   ipam.Record{Owner: names.Lessee(a), Boot: host.Boot},
		Alive:    proof.On(host, conn).AliveOn(n.Name),
		TrueBoot: host.BootIsReal,
		Ending:   rules.Ending(process.Of(ctx), n.Name),
	})
}

// Reclaim ends what is given to the provably dead. conn is in the host's namespace.
func Reclaim(ctx context.Context, c *verbs.Call, n *netconf.Network, conn *rtnl.Conn) error {
	from := Of(n)
	local, ok := from.(*hostlocal.Keys)
	switch {
	case from == nil:
		return nil
	case !ok:
		return from.Reclaim(ctx, c)
	}
	p, err := proof.New(conn)
	if err != nil {
		return err
	}
	call := process.Of(ctx)
	ended, err := local.EndAll(ctx, p.AliveOn(n.Name), func(s *ipam.Store) { s.NoteBoot(p.Boot(), p.BootIsReal) }, rules.Ending(call, n.Name))
	call.Reclaimed(ended)
	return err
}
