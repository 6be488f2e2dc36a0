// SPDX-License-Identifier: Apache-2.0

package addresses

import (
	"context"
	"os"
	"path/filepath"

	"github.com/swiftcni/swiftcni/cni/spec"
	"github.com/swiftcni/swiftcni/internal/fault"
	"github.com/swiftcni/swiftcni/internal/hostid"
	"github.com/swiftcni/swiftcni/internal/hostlocal"
	"github.com/swiftcni/swiftcni/internal/names"
	"github.com/swiftcni/swiftcni/internal/netconf"
	"github.com/swiftcni/swiftcni/internal/proof"
	"github.com/swiftcni/swiftcni/internal/static"
	"github.com/swiftcni/swiftcni/ipam"
	"github.com/swiftcni/swiftcni/rtnl"
)

// A Foresight tells what a plugin's addresses would be now.
type Foresight struct {
	Given *spec.Result
	// Before and After are lines that tell it, before those of the link and after them.
	Before, After string
}

// Foresee tells what an attachment would get, and changes nothing: host-local reserves in a copy of
// the store. A program isn't asked. repair works on the copy first; nil does nothing.
func Foresee(n *netconf.Network, a spec.Attachment, host hostid.ID, conn *rtnl.Conn, repair func(*ipam.Store) error) (f Foresight, err error) {
	f.Given = &spec.Result{}
	switch n.IPAM.Plugin {
	case "":
	case netconf.HostLocal:
		err = f.lease(n, a, host, conn, repair)
	case netconf.Static:
		f.Given, err = static.Of(n).Give(a)
	default: // it's asked when the link is there
		f.After = "leases     ask the plugin " + n.IPAM.Plugin + ", which isn't done now: addresses, and what follows from them, are left out\n"
	}
	return f, err
}

func (f *Foresight) lease(n *netconf.Network, a spec.Attachment, host hostid.ID, conn *rtnl.Conn, repair func(*ipam.Store) error) error {
	local := hostlocal.Of(n)
	dns, err := local.ResolvConf(context.Background())
	if err != nil {
		return err
	}
	dir, err := local.CopyStore()
	if err != nil {
		return fault.Wrap("copy the lease store", err)
	}
	defer os.RemoveAll(dir)
	store, err := ipam.Open(context.Background(), dir, n.Name)
	if err != nil {
		return fault.Wrap("open the lease store's copy", err)
	}
	defer store.Close()
	if repair != nil {
		if err := repair(store); err != nil {
			return err
		}
	}
	owner := names.Lessee(a)
	leases, err := store.Reserve(ipam.Request{Owner: owner, Sets: n.IPAM.Sets, Want: local.Wanted(a),
		Record: ipam.Record{Owner: owner}, Alive: proof.On(host, conn).AliveOn(n.Name)})
	if err != nil {
		return hostlocal.Error(err)
	}
	for _, l := range leases {
		f.Before += "leases     reserve " + l.Prefix.String() + " for " + owner.String() + " in " + filepath.Join(n.IPAM.DataDir, n.Name) + "\n"
	}
	f.Given = local.Result(leases, dns)
	return nil
}
