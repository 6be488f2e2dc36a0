// SPDX-License-Identifier: Apache-2.0

package cni

import (
	"context"
	"errors"
	"io/fs"
	"net/netip"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"github.com/swiftcni/swiftcni/internal/hostid"
	"github.com/swiftcni/swiftcni/internal/names"
	"github.com/swiftcni/swiftcni/internal/proof"
	"github.com/swiftcni/swiftcni/internal/sysctl"
	"github.com/swiftcni/swiftcni/ipam"
	"github.com/swiftcni/swiftcni/rtnl"
)

// Explain tells what [Attach], or the plugin ptp, would do now for an attachment, one change a line behind the place
// where it happens, and changes nothing. The container's namespace needn't exist. Addresses are those that the next ADD would get, if no
// other comes before it; those of an IPAM plugin that would have to be run aren't known. Its error is that of ADD, as
// far as it can be foreseen.
func Explain(n *Network, a Attachment) (string, error) {
	if n.err != nil {
		return "", n.err
	}
	if n = n.connecting(); n == nil {
		return "", invalidKey("type", "only bridge and ptp have a plan that can be told")
	}
	if a.NetNS == "" {
		a.NetNS = "/proc/self/ns/net" // it's only named
	}
	ptp := n.plugin == "ptp"
	e := &explanation{network: n, attachment: a}
	var err error
	var mac []byte
	if ptp {
		if n, err = n.pointToPoint(); err == nil {
			err = n.checkCall(a)
		}
		e.network = n
	} else {
		mac, err = n.checkAttach(a)
	}
	if err != nil {
		return "", err
	}
	addrs, err := e.addresses()
	if err != nil {
		return "", asError(err)
	}
	host, err := hostid.Read()
	if err != nil {
		return "", err
	}
	seed := (&attaching{network: n, attachment: a, host: host}).seed()
	p := newPlan(n, a, names.Of(n.name, a.ContainerID, a.IfName, 0), addrs, mac, seed)
	p.asks = n.delegates()
	if ptp {
		p.pointToPoint()
	} else if err := p.checkGateways(); err != nil {
		return "", err
	}
	if err := e.missing(p); err != nil {
		return "", err
	}
	text := strings.ReplaceAll(p.String(), " netns fd 0", " netns container")
	for _, there := range e.there {
		text = strings.Replace(text, there, "", 1)
	}
	if p.asks {
		text += "leases     ask the plugin " + n.ipam.plugin + ", which isn't done now: addresses, and what follows from them, are left out\n"
	}
	return e.text.String() + text, nil
}

// connecting is the network of the first plugin that makes links, or nil.
func (n *Network) connecting() *Network {
	if n.plugin == "bridge" || n.plugin == "ptp" {
		return n
	}
	for _, m := range n.members {
		if m.network == nil {
			continue
		}
		if of := m.network.connecting(); of != nil {
			return of
		}
	}
	return nil
}

// explanation is the part of it that precedes the plan.
type explanation struct {
	network    *Network
	attachment Attachment
	text       strings.Builder
	there      []string // lines of the plan that have no effect
}

func (e *explanation) line(place, text string) { e.text.WriteString(place + text + "\n") }

// addresses finds out what IPAM would give.
func (e *explanation) addresses() (*Result, error) {
	n := e.network
	switch n.ipam.plugin {
	case "":
		return &Result{}, nil
	case hostLocal:
		return e.local()
	case static:
		return n.reserveStatic(e.attachment)
	}
	return &Result{}, nil // it's asked when the link is there
}

// local reserves in a copy of the store.
func (e *explanation) local() (*Result, error) {
	n := e.network
	dns, err := n.ipam.readResolvConf()
	if err != nil {
		return nil, err
	}
	dir, err := copyStore(n.ipam.dataDir, n.name)
	if err != nil {
		return nil, failed("copy the lease store", err)
	}
	defer os.RemoveAll(dir)
	host, err := hostid.Read()
	if err != nil {
		return nil, err
	}
	conn, err := rtnl.Dial(nil)
	if err != nil {
		return nil, failed("open a netlink socket", err)
	}
	defer conn.Close()
	store, err := ipam.Open(context.Background(), dir, n.name)
	if err != nil {
		return nil, failed("open the lease store's copy", err)
	}
	defer store.Close()
	at := &attaching{network: n, attachment: e.attachment, host: host, conn: conn}
	if _, err := at.restoreLost(store); err != nil {
		return nil, err
	}
	owner := names.Lessee(e.attachment)
	leases, err := store.Reserve(ipam.Request{Owner: owner, Sets: n.ipam.sets, Want: n.wanted(e.attachment),
		Record: ipam.Record{Owner: owner}, Alive: proof.On(host, conn).AliveOn(n.name)})
	if err != nil {
		return nil, ipamError(err)
	}
	for _, l := range leases {
		e.line("leases     ", "reserve "+l.Prefix.String()+" for "+owner.String()+" in "+filepath.Join(n.ipam.dataDir, n.name))
	}
	return n.localResult(leases, dns), nil
}

// copyStore copies what is known of a network's leases into a directory of its own. It doesn't lock: what changes
// meanwhile is as good as what changes afterwards.
func copyStore(dataDir, network string) (dir string, err error) {
	if dir, err = os.MkdirTemp("", "swiftcni-explain-"); err != nil {
		return "", err
	}
	for _, part := range []string{network, filepath.Join(".swiftcni", network)} {
		from, to := filepath.Join(dataDir, part), filepath.Join(dir, part)
		entries, err := os.ReadDir(from)
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err == nil {
			err = os.MkdirAll(to, 0o700)
		}
		for _, entry := range entries {
			if err == nil {
				err = copyEntry(filepath.Join(from, entry.Name()), filepath.Join(to, entry.Name()), entry.Type())
			}
		}
		if err != nil {
			return "", errors.Join(err, os.RemoveAll(dir))
		}
	}
	return dir, nil
}

// copyEntry copies a lease or a record; one that's gone by now isn't missed.
func copyEntry(from, to string, kind fs.FileMode) error {
	var err error
	switch kind {
	case fs.ModeSymlink:
		var text string
		if text, err = os.Readlink(from); err == nil {
			err = os.Symlink(text, to)
		}
	case 0:
		var text []byte
		if text, err = os.ReadFile(from); err == nil {
			err = os.WriteFile(to, text, 0o600)
		}
	case fs.ModeDir: // a boot that the records are of
		err = os.Mkdir(to, 0o700)
	}
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	return err
}

// missing tells what the host lacks and would get.
func (e *explanation) missing(p *plan) error {
	conn, err := rtnl.Dial(nil)
	if err != nil {
		return failed("open a netlink socket", err)
	}
	defer conn.Close()
	k := &e.network.bridge
	if !p.ptp {
		if err := e.bridge(conn, k.name, p.bridgeGateways()); err != nil {
			return err
		}
	}
	for _, f := range []struct {
		four   bool
		sysctl string
	}{{true, "net/ipv4/ip_forward"}, {false, "net/ipv6/conf/all/forwarding"}} {
		if len(p.gateways) == 0 && !p.ptp || !p.hasFamily(f.four) {
			continue
		}
		if v, err := sysctl.Read(f.sysctl); err == nil && v != "1" {
			e.line("host       ", "set "+f.sysctl+" to 1")
		}
	}
	return nil
}

func (e *explanation) bridge(conn *rtnl.Conn, name string, gateways []netip.Prefix) error {
	l, err := conn.Link(name)
	switch {
	case absent(err):
		e.line("host       ", "create bridge "+name+" up")
	case err != nil:
		return failed("failed to lookup bridge "+quote(name), err)
	case l.Kind != "bridge":
		return notABridge(name)
	case l.State != rtnl.Up:
		e.line("host       ", "set link "+name+" up")
	}
	for _, gw := range gateways {
		on, err := conn.HasAddr(l.Index, gw)
		if err != nil {
			return failed("list the bridge's addresses", err)
		}
		if on {
			var b rtnl.Batch
			b.Create(e.network.bridge.gatewayAddr(anyBridge, gw))
			e.there = append(e.there, "host       "+strings.ReplaceAll(b.String(), strconv.Itoa(anyBridge), name))
		}
	}
	return nil
}
