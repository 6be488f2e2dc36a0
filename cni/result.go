// SPDX-License-Identifier: Apache-2.0

package cni

import (
	"net/netip"
)

// A Result says what an attachment got, in the newest form; it prints in the form of any version.
type Result struct {
	CNIVersion string // the form in which it prints
	Interfaces []Interface
	IPs        []IP
	Routes     []Route
	DNS        DNS

	verbatim []byte // printed as it is, when set
	ofIPAM   bool   // an IPAM plugin's own: its routes have the gateways that they're written with
	others   string
}

// Whatever a result, or an entry of one, has beside the fields here stays with it, and is printed with it: `others` is
// the inner text of a JSON object.

// An Interface is a link that an attachment made or uses.
type Interface struct {
	Name    string
	MAC     string
	MTU     int    // 0 is unknown
	Sandbox string // path of the namespace that holds it; empty is the host's

	others string // such as socketPath and pciID
}

// NoInterface is an [IP] that names no interface.
const NoInterface = -1

// An IP is an address of the container.
type IP struct {
	Address   netip.Prefix // the address, with its subnet's length
	Gateway   netip.Addr   // may be invalid: none
	Interface int          // index into Result.Interfaces, or NoInterface

	others string
}

// hasGateway reports whether the address has a gateway that it can use. whereabouts gives all addresses the one that it
// knows, whatever their family.
func (ip *IP) hasGateway() bool {
	return specified(ip.Gateway).IsValid() && ip.Gateway.Is4() == ip.Address.Addr().Is4()
}

// specified is a gateway, or none where it's 0.0.0.0 or ::. dhcp says so of a destination on the link (RFC 3442).
func specified(gw netip.Addr) netip.Addr {
	if gw.IsUnspecified() {
		return netip.Addr{}
	}
	return gw
}

// A Route is a route of the container. Zero fields are unset.
type Route struct {
	Dst      netip.Prefix
	Gateway  netip.Addr
	MTU      int // bytes
	AdvMSS   int // bytes
	Priority int
	Table    *int // nil is the main table
	Scope    *int // nil lets the kernel's rule decide (RT_SCOPE_*, linux/rtnetlink.h)

	others string
}

// DNS is what the container should use to resolve names.
type DNS struct {
	Nameservers []string
	Domain      string
	Search      []string
	Options     []string

	others string
}

func (d *DNS) empty() bool {
	return len(d.Nameservers) == 0 && d.Domain == "" && len(d.Search) == 0 && len(d.Options) == 0 && d.others == ""
}

// MarshalJSON prints the result in the form of its CNIVersion.
func (r *Result) MarshalJSON() ([]byte, error) { return r.append(nil) }

// append prints the result in its version's form. A legacy form holds at least one address.
func (r *Result) append(b []byte) ([]byte, error) {
	v, ok := parseVersion(r.CNIVersion)
	if !ok {
		return nil, &Error{Code: CodeIncompatibleVersion, Msg: "no converter for version " + quote(r.CNIVersion)}
	}
	w := newWriter(b)
	w.open('{')
	w.key("cniVersion").str(r.CNIVersion)
	switch formOf(v) {
	case formLegacy:
		if len(r.IPs) == 0 {
			return nil, errNoLegacyAddress()
		}
		r.legacyIP(w, "ip4", true)
		r.legacyIP(w, "ip6", false)
		r.DNS.write(w, false)
	case formMiddle:
		r.writeInterfaces(w, false)
		r.writeIPs(w, true)
		writeRoutes(w, r.Routes, false)
		r.DNS.write(w, false)
	case formCurrent:
		if !r.DNS.empty() {
			r.DNS.write(w, true)
		}
		r.writeInterfaces(w, true)
		r.writeIPs(w, false)
		writeRoutes(w, r.Routes, true)
	}
	w.among(r.others).close('}')
	return w.b, nil
}

func errNoLegacyAddress() error {
	return &Error{Code: CodeInvalidNetwork, Msg: "cannot convert: no valid IP addresses",
		Details: "cniVersion 0.1.0 and 0.2.0 have no form for an attachment without addresses", Key: "cniVersion"}
}

// legacyIP prints ip4 or ip6: the first address of the family and the family's routes. Where a route of a link names no
// gateway the address's own stands in, as when the reference reads its IPAM plugin's result.
func (r *Result) legacyIP(w *writer, key string, four bool) {
	for _, ip := range r.IPs {
		if ip.Address.Addr().Is4() != four {
			continue
		}
		w.key(key).open('{')
		w.key("ip").str(ip.Address.String())
		if ip.Gateway.IsValid() {
			w.key("gateway").str(ip.Gateway.String())
		}
		open := false
		for _, route := range r.Routes {
			if !route.Dst.IsValid() || route.Dst.Addr().Is4() != four {
				continue
			}
			if !open {
				w.key("routes").open('[')
				open = true
			}
			w.item().open('{')
			w.key("dst").str(route.Dst.String())
			gw := route.Gateway
			if !r.ofIPAM {
				gw = route.gatewayOr(ip.Gateway)
			}
			if gw.IsValid() {
				w.key("gw").str(gw.String())
			}
			w.among(route.others).close('}')
		}
		if open {
			w.close(']')
		}
		w.among(ip.others).close('}')
		return
	}
}

func (route *Route) gatewayOr(gw netip.Addr) netip.Addr {
	if route.Gateway.IsValid() {
		return route.Gateway
	}
	return gw
}

func (r *Result) writeInterfaces(w *writer, current bool) {
	if len(r.Interfaces) == 0 {
		return
	}
	w.key("interfaces").open('[')
	for _, i := range r.Interfaces {
		w.item().open('{')
		if current {
			w.among(i.others)
			w.text("mac", i.MAC)
			w.number("mtu", i.MTU)
			w.key("name").str(i.Name)
		} else {
			w.key("name").str(i.Name)
			w.text("mac", i.MAC)
			w.number("mtu", i.MTU)
		}
		w.text("sandbox", i.Sandbox)
		if !current {
			w.among(i.others)
		}
		w.close('}')
	}
	w.close(']')
}

func (r *Result) writeIPs(w *writer, withVersion bool) {
	if len(r.IPs) == 0 {
		return
	}
	w.key("ips").open('[')
	for _, ip := range r.IPs {
		w.item().open('{')
		if withVersion {
			v := "6"
			if ip.Address.Addr().Is4() {
				v = "4"
			}
			w.key("version").str(v)
			ip.writeInterface(w)
			w.key("address").str(ip.Address.String())
			ip.writeGateway(w)
			w.among(ip.others)
		} else {
			w.among(ip.others)
			w.key("address").str(ip.Address.String())
			ip.writeGateway(w)
			ip.writeInterface(w)
		}
		w.close('}')
	}
	w.close(']')
}

func (ip *IP) writeInterface(w *writer) {
	if ip.Interface != NoInterface {
		w.key("interface").num(ip.Interface)
	}
}

func (ip *IP) writeGateway(w *writer) {
	if ip.Gateway.IsValid() {
		w.key("gateway").str(ip.Gateway.String())
	}
}

// writeRoutes prints the fields in the order of old, or in alphabetical order.
func writeRoutes(w *writer, routes []Route, sorted bool) {
	if len(routes) == 0 {
		return
	}
	w.key("routes").open('[')
	for _, r := range routes {
		w.item().open('{')
		if sorted {
			w.among(r.others)
			w.number("advmss", r.AdvMSS)
		}
		if r.Dst.IsValid() {
			w.key("dst").str(r.Dst.String())
		}
		if r.Gateway.IsValid() {
			w.key("gw").str(r.Gateway.String())
		}
		w.number("mtu", r.MTU)
		if !sorted {
			w.number("advmss", r.AdvMSS)
		}
		w.number("priority", r.Priority)
		if sorted {
			w.pointer("scope", r.Scope)
		}
		w.pointer("table", r.Table)
		if !sorted {
			w.pointer("scope", r.Scope)
			w.among(r.others)
		}
		w.close('}')
	}
	w.close(']')
}

// text prints a field that's left out when it's empty.
func (w *writer) text(key, s string) {
	if s != "" {
		w.key(key).str(s)
	}
}

// number prints a field that's left out when it's zero.
func (w *writer) number(key string, n int) {
	if n != 0 {
		w.key(key).num(n)
	}
}

// pointer prints a field that's left out when it's unset.
func (w *writer) pointer(key string, n *int) {
	if n != nil {
		w.key(key).num(*n)
	}
}

func (d *DNS) write(w *writer, sorted bool) {
	domain := func() { w.text("domain", d.Domain) }
	w.key("dns").open('{')
	if sorted {
		domain()
	}
	w.strs("nameservers", d.Nameservers)
	if sorted {
		w.strs("options", d.Options)
	} else {
		domain()
	}
	w.strs("search", d.Search)
	if !sorted {
		w.strs("options", d.Options)
	}
	w.among(d.others).close('}')
}
