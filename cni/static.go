// SPDX-License-Identifier: Apache-2.0

package cni

import (
	"context"
	"net/netip"
	"strings"

	"github.com/swiftcni/swiftcni/internal/fault"
	"github.com/swiftcni/swiftcni/internal/jsontext"
	"github.com/swiftcni/swiftcni/internal/wire"
)

// The IPAM plugin static gives the addresses that it's told. It keeps no state, so nothing is ever to be released.

// staticKeys are its own.
type staticKeys struct {
	addresses []IP // ipam.addresses
	dns       DNS
}

// staticField reads one key of the ipam object.
func (k *ipamKeys) staticField(r *jsontext.Reader, key string) error {
	switch key {
	case "addresses":
		return k.static.parseAddresses(r)
	case "routes":
		return k.parseRoutes(r)
	case "dns":
		dns := wire.DNS{}
		_, err := dns.Read(r)
		k.static.dns = DNS(dns)
		return err
	}
	return nil
}

func (k *staticKeys) parseAddresses(r *jsontext.Reader) error {
	k.addresses = nil
	_, err := r.List(func() error {
		ip := IP{Interface: NoInterface}
		var text string
		err := r.Object(func(key string) error {
			switch key {
			case "address":
				return r.Str(&text)
			case "gateway":
				return r.Addr(&ip.Gateway)
			}
			return nil
		})
		var ok bool
		if ip.Address, ok = jsontext.ParsePrefix(text); !ok {
			r.Wrong("the 'address' field is expected to be in CIDR notation, got: '"+text+"'", "")
		}
		k.addresses = append(k.addresses, ip)
		return err
	})
	return err
}

// staticResult says which addresses an attachment gets: those of runtimeConfig.ips or else args.cni.ips stand in
// for the configuration's, which otherwise those of CNI_ARGS are added to.
func (n *Network) staticResult(a Attachment) (*Result, error) {
	k := &n.ipam
	if !k.present {
		return nil, invalidKey("ipam", "IPAM config missing 'ipam' key")
	}
	res := &Result{CNIVersion: n.cniVersion, Routes: k.routes, DNS: k.static.dns}
	more, err := staticArgs(a.Args)
	switch {
	case err != nil:
		return nil, err
	case len(k.runtime.texts) > 0:
		res.IPs, err = wantedPrefixes("runtimeConfig.ips", k.runtime.texts)
	case len(k.args.texts) > 0:
		res.IPs, err = wantedPrefixes("args.cni.ips", k.args.texts)
	default:
		res.IPs = append(append(res.IPs, k.static.addresses...), more...)
	}
	if err != nil {
		return nil, err
	}
	return res, n.checkDelegated(res)
}

// wantedPrefixes reads a list that's known to hold addresses: here they must have their subnets' lengths.
func wantedPrefixes(key string, texts []string) (list []IP, _ error) {
	for _, text := range texts {
		p, ok := jsontext.ParsePrefix(text)
		if !ok {
			return nil, fault.Expected(key, "an entry in the 'ips' field is NOT in CIDR notation, got: '"+text+"'", "")
		}
		list = append(list, IP{Address: p, Interface: NoInterface})
	}
	return list, nil
}

// staticArgs reads IP and GATEWAY of CNI_ARGS. A gateway is that of each of these addresses whose subnet it's in.
func staticArgs(args string) (list []IP, _ error) {
	var gateways []netip.Addr
	for pair := range strings.SplitSeq(args, ";") {
		key, value, _ := strings.Cut(pair, "=")
		for text := range strings.SplitSeq(value, ",") {
			text = strings.TrimSpace(text)
			switch {
			case text == "":
			case key == "IP":
				p, ok := jsontext.ParsePrefix(text)
				if !ok {
					return nil, argsError("the 'ip' field is expected to be in CIDR notation, got: '" + text + "'")
				}
				list = append(list, IP{Address: p, Interface: NoInterface})
			case key == "GATEWAY":
				gw, err := netip.ParseAddr(text)
				if err != nil || gw.Zone() != "" {
					return nil, argsError("invalid gateway address: " + text)
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

// reserveStatic is the result for a plugin that needs addresses.
func (n *Network) reserveStatic(a Attachment) (*Result, error) {
	res, err := n.staticResult(a)
	if err == nil && len(res.IPs) == 0 {
		err = fault.Expected("ipam.addresses", "IPAM plugin returned missing IP config", "an address")
	}
	return res, err
}

func addStatic(_ context.Context, n *Network, a Attachment) (*Result, error) {
	res, err := n.staticResult(a)
	if err != nil {
		return nil, err
	}
	res.OfIPAM = true
	return res, nil
}

func delStatic(context.Context, *Network, Attachment) error { return nil }

// checkStatic finds out whether the result's addresses have the gateways that they were configured with.
func checkStatic(_ context.Context, n *Network, a Attachment, prev *Result) error {
	want, err := n.staticResult(a)
	switch {
	case err != nil:
		return err
	case n.prevErr != nil:
		return n.prevErr
	case prev == nil:
		return invalidKey("prevResult", "Required prevResult missing")
	}
	for _, ip := range want.IPs {
		for _, got := range prev.IPs {
			if got.Address.Addr() == ip.Address.Addr() && ip.Gateway.IsValid() && ip.Gateway != got.Gateway {
				return fault.Because(wrong("static: Failed to match addr "+ip.Address.Addr().String()+" on interface "+a.IfName),
					"its gateway is "+got.Gateway.String()+", expected "+ip.Gateway.String())
			}
		}
	}
	return nil
}

func statusStatic(_ context.Context, n *Network) error {
	_, err := n.staticResult(Attachment{})
	return err
}
