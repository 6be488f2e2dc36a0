// SPDX-License-Identifier: Apache-2.0

package cni

import (
	"net/netip"

	"github.com/swiftcni/swiftcni/internal/jsontext"
)

// parsePrevResult reads the prevResult by the configuration's family of versions; one that says another
// family itself is an error. The verbs that need it look at the error.
func (n *Network) parsePrevResult() {
	if len(n.prevRaw) == 0 || string(n.prevRaw) == "null" {
		n.prevRaw = nil
		return
	}
	want, ok := parseVersion(n.cniVersion)
	if !ok {
		return // the version gate says it better
	}
	res := &Result{CNIVersion: n.cniVersion}
	r := jsontext.NewReader(n.prevRaw, "prevResult")
	err := res.parse(r, true) // plugins that follow pass on what they have no use for
	if err != nil {
		n.prevErr = asError(err)
		if e := n.prevErr; e.Details != "" { // twice, as the reference says it
			n.prevErr = e.during("could not parse prevResult").during("could not parse prevResult")
		}
		return
	}
	if got, ok := parseVersion(res.CNIVersion); !ok || formOf(got) != formOf(want) {
		n.prevErr = invalidKey("prevResult", `invalid "prevResult.cniVersion": expected the form of `+n.cniVersion+", got "+quote(res.CNIVersion))
		return
	}
	n.prev = res
}

// parseResult reads a result of any version. One without cniVersion is of the version given.
func parseResult(text []byte, cniVersion, path string) (*Result, error) {
	res := &Result{CNIVersion: cniVersion}
	if err := res.parse(jsontext.NewReader(text, path), false); err != nil {
		return nil, err
	}
	return res, nil
}

// parse reads a result; lax takes routes whatever they say.
func (res *Result) parse(r *jsontext.Reader, lax bool) error {
	r.Keeps = true
	var four, six legacyIP
	err := r.Object(func(key string) error {
		switch key {
		case "cniversion":
			var v string
			err := r.Str(&v)
			if v != "" {
				res.CNIVersion = v
			}
			return err
		case "interfaces":
			return res.parseInterfaces(r)
		case "ips":
			return res.parseIPs(r)
		case "routes":
			return readRoutes(r, lax, &res.Routes)
		case "dns":
			return res.DNS.parse(r, nil)
		case "ip4":
			return four.parse(r, lax)
		case "ip6":
			return six.parse(r, lax)
		}
		return r.Keep(&res.others)
	})
	if err == nil {
		err = r.End()
	}
	if err != nil {
		return decodeError(err)
	}
	if r.First != nil {
		return keyError(r.First)
	}
	for _, l := range []legacyIP{four, six} {
		if l.address.IsValid() {
			res.IPs = append(res.IPs, IP{Address: l.address, Gateway: l.gateway, Interface: NoInterface, others: l.others})
			res.Routes = append(res.Routes, l.routes...)
		}
	}
	return nil
}

// legacyIP is ip4 or ip6 of the versions 0.1.0 and 0.2.0.
type legacyIP struct {
	address netip.Prefix
	gateway netip.Addr
	routes  []Route
	others  string
}

func (l *legacyIP) parse(r *jsontext.Reader, lax bool) error {
	return r.Object(func(key string) error {
		switch key {
		case "ip":
			return r.Prefix(&l.address)
		case "gateway":
			return r.Addr(&l.gateway)
		case "routes":
			return readRoutes(r, lax, &l.routes)
		}
		return r.Keep(&l.others)
	})
}

func (res *Result) parseInterfaces(r *jsontext.Reader) error {
	res.Interfaces = nil
	_, err := r.List(func() error {
		var i Interface
		err := r.Object(func(key string) error {
			switch key {
			case "name":
				return r.Str(&i.Name)
			case "mac":
				return r.Str(&i.MAC)
			case "mtu":
				return r.Integer(&i.MTU)
			case "sandbox":
				return r.Str(&i.Sandbox)
			}
			return r.Keep(&i.others)
		})
		res.Interfaces = append(res.Interfaces, i)
		return err
	})
	return err
}

func (res *Result) parseIPs(r *jsontext.Reader) error {
	res.IPs = nil
	_, err := r.List(func() error {
		ip := IP{Interface: NoInterface}
		err := r.Object(func(key string) error {
			switch key {
			case "address":
				return r.Prefix(&ip.Address)
			case "gateway":
				return r.Addr(&ip.Gateway)
			case "interface":
				return r.Integer(&ip.Interface)
			case "version": // of 0.3 and 0.4; the address says it as well
				return nil
			}
			return r.Keep(&ip.others)
		})
		if err == nil && !ip.Address.IsValid() {
			r.Invalid(`expected an object with "address"`)
		}
		res.IPs = append(res.IPs, ip)
		return err
	})
	return err
}

// parse reads a dns object. present, if not nil, is set when a domain or any list is there, though empty.
func (d *DNS) parse(r *jsontext.Reader, present *bool) error {
	saw := func(is bool) {
		if present != nil && is {
			*present = true
		}
	}
	list := func(to *[]string) error {
		is, err := r.Strs(to)
		saw(is)
		return err
	}
	return r.Object(func(key string) error {
		switch key {
		case "nameservers":
			return list(&d.Nameservers)
		case "search":
			return list(&d.Search)
		case "options":
			return list(&d.Options)
		case "domain":
			err := r.Str(&d.Domain)
			saw(d.Domain != "")
			return err
		}
		return r.Keep(&d.others)
	})
}
