// SPDX-License-Identifier: Apache-2.0

package cni

import (
	"net/netip"

	"github.com/swiftcni/swiftcni/internal/jsontext"
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
	w := jsontext.NewWriter(b)
	w.Open('{')
	w.Key("cniVersion").Str(r.CNIVersion)
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
	w.Among(r.others).Close('}')
	return w.Bytes(), nil
}

func errNoLegacyAddress() error {
	return &Error{Code: CodeInvalidNetwork, Msg: "cannot convert: no valid IP addresses",
		Details: "cniVersion 0.1.0 and 0.2.0 have no form for an attachment without addresses", Key: "cniVersion"}
}

// legacyIP prints ip4 or ip6: the first address of the family and the family's routes. Where a route of a link names no
// gateway the address's own stands in, as when the reference reads its IPAM plugin's result.
func (r *Result) legacyIP(w *jsontext.Writer, key string, four bool) {
	for _, ip := range r.IPs {
		if ip.Address.Addr().Is4() != four {
			continue
		}
		w.Key(key).Open('{')
		w.Key("ip").Str(ip.Address.String())
		if ip.Gateway.IsValid() {
			w.Key("gateway").Str(ip.Gateway.String())
		}
		open := false
		for _, route := range r.Routes {
			if !route.Dst.IsValid() || route.Dst.Addr().Is4() != four {
				continue
			}
			if !open {
				w.Key("routes").Open('[')
				open = true
			}
			w.Item().Open('{')
			w.Key("dst").Str(route.Dst.String())
			gw := route.Gateway
			if !r.ofIPAM {
				gw = route.gatewayOr(ip.Gateway)
			}
			if gw.IsValid() {
				w.Key("gw").Str(gw.String())
			}
			w.Among(route.others).Close('}')
		}
		if open {
			w.Close(']')
		}
		w.Among(ip.others).Close('}')
		return
	}
}

func (route *Route) gatewayOr(gw netip.Addr) netip.Addr {
	if route.Gateway.IsValid() {
		return route.Gateway
	}
	return gw
}

func (r *Result) writeInterfaces(w *jsontext.Writer, current bool) {
	if len(r.Interfaces) == 0 {
		return
	}
	w.Key("interfaces").Open('[')
	for _, i := range r.Interfaces {
		w.Item().Open('{')
		if current {
			w.Among(i.others)
			w.Text("mac", i.MAC)
			w.Number("mtu", i.MTU)
			w.Key("name").Str(i.Name)
		} else {
			w.Key("name").Str(i.Name)
			w.Text("mac", i.MAC)
			w.Number("mtu", i.MTU)
		}
		w.Text("sandbox", i.Sandbox)
		if !current {
			w.Among(i.others)
		}
		w.Close('}')
	}
	w.Close(']')
}

func (r *Result) writeIPs(w *jsontext.Writer, withVersion bool) {
	if len(r.IPs) == 0 {
		return
	}
	w.Key("ips").Open('[')
	for _, ip := range r.IPs {
		w.Item().Open('{')
		if withVersion {
			v := "6"
			if ip.Address.Addr().Is4() {
				v = "4"
			}
			w.Key("version").Str(v)
			ip.writeInterface(w)
			w.Key("address").Str(ip.Address.String())
			ip.writeGateway(w)
			w.Among(ip.others)
		} else {
			w.Among(ip.others)
			w.Key("address").Str(ip.Address.String())
			ip.writeGateway(w)
			ip.writeInterface(w)
		}
		w.Close('}')
	}
	w.Close(']')
}

func (ip *IP) writeInterface(w *jsontext.Writer) {
	if ip.Interface != NoInterface {
		w.Key("interface").Num(ip.Interface)
	}
}

func (ip *IP) writeGateway(w *jsontext.Writer) {
	if ip.Gateway.IsValid() {
		w.Key("gateway").Str(ip.Gateway.String())
	}
}

// writeRoutes prints the fields in the order of old, or in alphabetical order.
func writeRoutes(w *jsontext.Writer, routes []Route, sorted bool) {
	if len(routes) == 0 {
		return
	}
	w.Key("routes").Open('[')
	for _, r := range routes {
		w.Item().Open('{')
		if sorted {
			w.Among(r.others)
			w.Number("advmss", r.AdvMSS)
		}
		if r.Dst.IsValid() {
			w.Key("dst").Str(r.Dst.String())
		}
		if r.Gateway.IsValid() {
			w.Key("gw").Str(r.Gateway.String())
		}
		w.Number("mtu", r.MTU)
		if !sorted {
			w.Number("advmss", r.AdvMSS)
		}
		w.Number("priority", r.Priority)
		if sorted {
			w.Pointer("scope", r.Scope)
		}
		w.Pointer("table", r.Table)
		if !sorted {
			w.Pointer("scope", r.Scope)
			w.Among(r.others)
		}
		w.Close('}')
	}
	w.Close(']')
}

func (d *DNS) write(w *jsontext.Writer, sorted bool) {
	domain := func() { w.Text("domain", d.Domain) }
	w.Key("dns").Open('{')
	if sorted {
		domain()
	}
	w.Strs("nameservers", d.Nameservers)
	if sorted {
		w.Strs("options", d.Options)
	} else {
		domain()
	}
	w.Strs("search", d.Search)
	if !sorted {
		w.Strs("options", d.Options)
	}
	w.Among(d.others).Close('}')
}
