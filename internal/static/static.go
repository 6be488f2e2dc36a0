// SPDX-License-Identifier: Apache-2.0

// Package static is the plugin that gives the addresses that it's told. It keeps no state, so
// nothing is ever to be released.
package static

import (
	"context"
	"net/netip"
	"strings"

	"github.com/swiftcni/swiftcni/cni/spec"
	"github.com/swiftcni/swiftcni/internal/fault"
	"github.com/swiftcni/swiftcni/internal/jsontext"
	"github.com/swiftcni/swiftcni/internal/netconf"
	"github.com/swiftcni/swiftcni/internal/verbs"
)

// Keys are its own, of one network.
type Keys struct{ conf *netconf.Network }

// Read reads them.
func Read(n *netconf.Network) verbs.Plugin { return Of(n) }

// Of is Read for a plugin that asks for addresses.
func Of(n *netconf.Network) *Keys { return &Keys{n} }

// Wrong finds what is wrong with the addresses, whatever is attached.
func (k *Keys) Wrong(spec.Attachment) *spec.Error {
	if _, err := k.result(spec.Attachment{}); err != nil {
		return fault.Of(err)
	}
	return nil
}

// result says which addresses an attachment gets: those of runtimeConfig.ips or else args.cni.ips
// stand in for the configuration's, which otherwise those of CNI_ARGS are added to.
func (k *Keys) result(a spec.Attachment) (*spec.Result, error) {
	keys := &k.conf.IPAM
	if !keys.There {
		return nil, fault.Key("ipam", "IPAM config missing 'ipam' key")
	}
	res := &spec.Result{CNIVersion: k.conf.CNIVersion, Routes: keys.Routes, DNS: keys.DNS}
	more, err := args(a.Args)
	switch {
	case err != nil:
		return nil, err
	case len(keys.Runtime.Texts) > 0:
		res.IPs, err = prefixes("runtimeConfig.ips", keys.Runtime.Texts)
	case len(keys.Args.Texts) > 0:
		res.IPs, err = prefixes("args.cni.ips", keys.Args.Texts)
	default:
		res.IPs = append(append(res.IPs, keys.Addresses...), more...)
	}
	if err != nil {
		return nil, err
	}
	return res, k.conf.CheckAddresses(res.IPs)
}

// prefixes reads a list that's known to hold addresses: here they must have their subnets' lengths.
func prefixes(key string, texts []string) (list []spec.IP, _ error) {
	for _, text := range texts {
		p, ok := jsontext.ParsePrefix(text)
		if !ok {
			return nil, fault.Expected(key, "an entry in the 'ips' field is NOT in CIDR notation, got: '"+text+"'", "")
		}
		list = append(list, spec.IP{Address: p, Interface: spec.NoInterface})
	}
	return list, nil
}

// args reads IP and GATEWAY of CNI_ARGS. A gateway is that of each of these addresses whose subnet
// it's in.
func args(text string) (list []spec.IP, _ error) {
	var gateways []netip.Addr
	for pair := range strings.SplitSeq(text, ";") {
		key, value, _ := strings.Cut(pair, "=")
		for text := range strings.SplitSeq(value, ",") {
			text = strings.TrimSpace(text)
			switch {
			case text == "":
			case key == "IP":
				p, ok := jsontext.ParsePrefix(text)
				if !ok {
					return nil, fault.Args("the 'ip' field is expected to be in CIDR notation, got: '" + text + "'")
				}
				list = append(list, spec.IP{Address: p, Interface: spec.NoInterface})
			case key == "GATEWAY":
				gw, err := netip.ParseAddr(text)
				if err != nil || gw.Zone() != "" {
					return nil, fault.Args("invalid gateway address: " + text)
				}
				gateways = append(gateways, gw.Unmap())
			}
		}
	}
	for _, gw := range gateways {
		for i := range list {
			if list[i].Address.Contains(gw) {
				list[i].Gateway = gw
			}
		}
	}
	return list, nil
}

// Give is the result for a plugin that needs addresses.
func (k *Keys) Give(a spec.Attachment) (*spec.Result, error) {
	res, err := k.result(a)
	if err == nil && len(res.IPs) == 0 {
		err = fault.Expected("ipam.addresses", "IPAM plugin returned missing IP config", "an address")
	}
	return res, err
}

// Add gives the addresses.
func (k *Keys) Add(_ context.Context, _ *verbs.Call, a spec.Attachment) (*spec.Result, error) {
	res, err := k.result(a)
	if err != nil {
		return nil, err
	}
	res.OfIPAM = true
	return res, nil
}

// Del has nothing to do.
func (*Keys) Del(context.Context, *verbs.Call, spec.Attachment) error { return nil }

// Check finds out whether the result's addresses have the gateways that they were configured with.
func (k *Keys) Check(_ context.Context, c *verbs.Call, a spec.Attachment) error {
	want, err := k.result(a)
	switch {
	case err != nil:
		return err
	case c.PrevErr != nil:
		return c.PrevErr
	case c.Prev == nil:
		return fault.Key("prevResult", "Required prevResult missing")
	}
	for _, ip := range want.IPs {
		for _, got := range c.Prev.IPs {
			if got.Address.Addr() == ip.Address.Addr() && ip.Gateway.IsValid() && ip.Gateway != got.Gateway {
				return fault.Because(fault.Wrong("static: Failed to match addr "+ip.Address.Addr().String()+" on interface "+a.IfName),
					"its gateway is "+got.Gateway.String()+", expected "+ip.Gateway.String())
			}
		}
	}
	return nil
}

// GC has nothing to do.
func (*Keys) GC(context.Context, *verbs.Call, []spec.Attachment) error { return nil }

// Reclaim has nothing to do.
func (*Keys) Reclaim(context.Context, *verbs.Call) error { return nil }

// Status says what is wrong with the keys.
func (k *Keys) Status(context.Context, *verbs.Call) error {
	_, err := k.result(spec.Attachment{})
	return err
}
