// SPDX-License-Identifier: Apache-2.0

package spec

import (
	"strconv"

	"github.com/swiftcni/swiftcni/internal/jsontext"
	"github.com/swiftcni/swiftcni/internal/specversion"
)

func (d *DNS) empty() bool {
	return len(d.Nameservers) == 0 && d.Domain == "" && len(d.Search) == 0 && len(d.Options) == 0 && d.Others == ""
}

// MarshalJSON prints the result in the form of its CNIVersion, with an indent of four spaces as
// plugins do. Its error is an *Error: for an unknown version, or for a result without addresses in
// the form of 0.1.0 and 0.2.0, which needs an address. That form has at most one address of each
// family.
func (r *Result) MarshalJSON() ([]byte, error) {
	v, ok := specversion.Parse(r.CNIVersion)
	if !ok {
		return nil, &Error{Code: CodeIncompatibleVersion, Msg: "no converter for version " + strconv.Quote(r.CNIVersion)}
	}
	w := jsontext.NewWriter(make([]byte, 0, 1024))
	w.Open('{')
	w.Key("cniVersion").Str(r.CNIVersion)
	switch v.Form() {
	case specversion.Legacy:
		if len(r.IPs) == 0 {
			return nil, &Error{Code: CodeInvalidNetwork, Msg: "cannot convert: no valid IP addresses",
				Details: "cniVersion 0.1.0 and 0.2.0 have no form for an attachment without addresses", Key: "cniVersion"}
		}
		r.legacyIP(w, "ip4", true)
		r.legacyIP(w, "ip6", false)
		r.DNS.write(w, false)
	case specversion.Middle:
		r.writeInterfaces(w, false)
		r.writeIPs(w, true)
		writeRoutes(w, r.Routes, false)
		r.DNS.write(w, false)
	case specversion.Current:
		if !r.DNS.empty() {
			r.DNS.write(w, true)
		}
		r.writeInterfaces(w, true)
		r.writeIPs(w, false)
		writeRoutes(w, r.Routes, true)
	}
	w.Among(r.Others).Close('}')
	return w.Bytes(), nil
}

// legacyIP prints ip4 or ip6: the first address of the family and the family's routes. A route of a
// link without a gateway gets the address's gateway, as when the reference reads its IPAM plugin's
// result.
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
			if !gw.IsValid() && !r.OfIPAM {
				gw = ip.Gateway
			}
			if gw.IsValid() {
				w.Key("gw").Str(gw.String())
			}
			w.Among(route.Others).Close('}')
		}
		if open {
			w.Close(']')
		}
		w.Among(ip.Others).Close('}')
		return
	}
}

func (r *Result) writeInterfaces(w *jsontext.Writer, current bool) {
	if len(r.Interfaces) == 0 {
		return
	}
	w.Key("interfaces").Open('[')
	for _, i := range r.Interfaces {
		w.Item().Open('{')
		if current {
			w.Among(i.Others)
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
			w.Among(i.Others)
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
			w.Among(ip.Others)
		} else {
			w.Among(ip.Others)
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
			w.Among(r.Others)
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
			w.Among(r.Others)
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
	w.Among(d.Others).Close('}')
}
