// SPDX-License-Identifier: Apache-2.0

package cni

import (
	"context"
	"errors"

	"github.com/swiftcni/swiftcni/internal/fault"
	"github.com/swiftcni/swiftcni/internal/netns"
	"github.com/swiftcni/swiftcni/internal/process"
	"github.com/swiftcni/swiftcni/nft"
	"github.com/swiftcni/swiftcni/rtnl"
)

// The plugin firewall lets what a container sends, and what answers to it, through the host's firewall, and keeps bridges
// apart.

func addFirewall(ctx context.Context, n *Network, a Attachment) (*Result, error) {
	k := n.firewall()
	if err := n.checkFirewall(k); err != nil {
		return nil, err
	}
	if err := netns.RefuseOwn(a); err != nil {
		return nil, err
	}
	call := process.Of(ctx)
	f, err := k.firewalld()
	if err != nil {
		return nil, err
	}
	defer f.close()
	o := k.opening(n, a)
	o.Delegated = f != nil
	if o.Ingress == nft.IngressIsolated {
		if err := n.isolatePorts(o.Bridge); err != nil {
			return nil, err
		}
	}
	if err := k.open(call, n, o, f); err != nil {
		return nil, err
	}
	warnOfLegacy(call, o)
	return n.passOn(), nil
}

// open notes the addresses before firewalld hears of them, so that whoever comes after a crash finds them.
func (k *firewallKeys) open(call *process.Call, n *Network, o nft.Allowance, f *firewalld) error {
	conn, err := nft.Dial()
	if err != nil {
		return failed("set up nftables", err)
	}
	defer call.Close(conn, call.Lately(n.name))
	if err := conn.Allow(o); err != nil {
		return errors.Join(failed("set up nftables", err), unopen(o))
	}
	if f == nil {
		return nil
	}
	if err := f.add(o, k.zone); err != nil {
		return errors.Join(err, unopen(o))
	}
	return nil
}

// unopen takes back what may have been done though its answer was lost, by another socket, which no answer waits at.
func unopen(o nft.Allowance) error {
	conn, err := nft.Dial()
	if err != nil {
		return ignoreUnsupported(err)
	}
	defer conn.Close()
	return ignoreUnsupported(conn.Revoke(o, nil))
}

// checkFirewall says what is wrong with the configuration.
func (n *Network) checkFirewall(k *firewallKeys) error {
	if err := n.checkChained(k.err, "missing prevResult from earlier plugin"); err != nil {
		return err
	}
	if is := n.prev.Interfaces; k.ingress != nft.IngressOpen && (len(is) == 0 || is[0].Name == "") {
		return fault.Expected("ingressPolicy", `interface needs to be set for ingress policy `+quote(k.ingress.String())+
			`, make sure to chain "firewall" plugin with "bridge"`, "a bridge as prevResult's first interface")
	}
	return nil
}

// firewalld connects to the daemon where it's to be told. nil is that the host's own tables are to be used.
func (k *firewallKeys) firewalld() (*firewalld, error) {
	switch k.backend {
	case backendIPTables, backendNFTables:
		return nil, nil
	}
	f, err := dialFirewalld()
	if err == nil && f == nil && k.backend == backendFirewalld {
		err = fault.Because(invalidKey("backend", "system bus not found"), `"backend" is "firewalld", but firewalld doesn't run: start it, or leave the key out`)
	}
	return f, err
}

// isolatePorts makes the bridge keep the container's ports from other isolated ones. The ruleset sees what the host routes,
// but what is bridged only where br_netfilter is loaded.
func (n *Network) isolatePorts(bridge string) error {
	conn, err := rtnl.Dial(nil)
	if err != nil {
		return failed("open a netlink socket", err)
	}
	defer conn.Close()
	master, err := conn.Link(bridge)
	if absent(err) {
		return nil // it has no ports either
	}
	if err != nil {
		return failed("look up "+quote(bridge), err)
	}
	var b rtnl.Batch
	for _, i := range n.prev.Interfaces[1:] {
		if i.Sandbox != "" {
			continue
		}
		if l, err := conn.Link(i.Name); err == nil && l.Master == master.Index {
			b.Set(rtnl.Port{Link: l.Index, Isolated: rtnl.On})
		}
	}
	if b.Len() == 0 {
		return nil
	}
	return failed("isolate the port of "+quote(bridge), conn.Do(&b))
}

func delFirewall(ctx context.Context, n *Network, a Attachment) error {
	k := n.firewall()
	o := k.opening(n, a)
	// The bridge's policy is others' as well.
	o.Bridge, o.Ingress = "", nft.IngressOpen
	conn, err := nft.Dial()
	if err != nil {
		return ignoreUnsupported(err)
	}
	defer process.Of(ctx).Close(conn, true)
	return ignoreUnsupported(conn.Revoke(o, forgetSourcesOf(k.zone)))
}

func checkFirewall(_ context.Context, n *Network, a Attachment, _ *Result) error {
	k := n.firewall()
	if err := n.checkFirewall(k); err != nil {
		return err
	}
	f, err := k.firewalld()
	if err != nil {
		return err
	}
	defer f.close()
	o := k.opening(n, a)
	o.Delegated = f != nil
	conn, err := nft.Dial()
	if err != nil {
		return failed("check nftables", err)
	}
	defer conn.Close()
	err = conn.CheckAllowance(o)
	var missing *nft.MissingError
	switch {
	case errors.As(err, &missing):
		return &Error{Code: CodeInternal, Msg: "ruleset: " + err.Error(), Err: err}
	case err != nil:
		return failed("check nftables", err)
	case f != nil:
		return f.check(o, k.zone)
	}
	return nil
}

// gcFirewall removes the openings of attachments that aren't valid. Without a list nobody is known to be dead.
func gcFirewall(_ context.Context, n *Network, valid []Attachment) error {
	if valid == nil {
		return nil
	}
	conn, err := nft.Dial()
	if err != nil {
		return ignoreUnsupported(err)
	}
	defer conn.Close()
	return ignoreUnsupported(conn.RevokeExcept(n.name, n.rulesOwners(valid), forgetSourcesOf(n.firewall().zone)))
}

func statusFirewall(_ context.Context, n *Network) error {
	k := n.firewall()
	if k.err != nil {
		return k.err
	}
	f, err := k.firewalld()
	if err != nil {
		return unavailable("firewalld can't be used", err)
	}
	f.close()
	conn, err := nft.Dial()
	if err == nil {
		defer conn.Close()
		for _, err = range conn.Allowed(n.name) {
			break // the kernel can list them
		}
	}
	if err != nil {
		return unavailable("nftables can't be used", err)
	}
	return statusLegacy(conn, n.name)
}
