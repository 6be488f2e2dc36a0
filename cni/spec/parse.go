// SPDX-License-Identifier: Apache-2.0

package spec

import (
	"net/netip"

	"github.com/swiftcni/swiftcni/internal/jsontext"
	"github.com/swiftcni/swiftcni/internal/wire"
)

// UnmarshalJSON reads a result of any version. A text without a version is read as one of r's
// CNIVersion. All other fields are set anew. Its error is an *Error, whose Key is the path of the
// wrong value. The result is then undefined.
func (r *Result) UnmarshalJSON(text []byte) error {
	*r = Result{CNIVersion: r.CNIVersion}
	in := jsontext.NewReader(text, "")
	in.Keeps = true
	var four, six legacyIP
	err := in.Object(func(key string) error { return r.field(in, key, &four, &six) })
	if err == nil {
		err = in.End()
	}
	switch {
	case err != nil:
		return &Error{Code: CodeDecode, Msg: "failed to unmarshal raw result: " + err.Error(), Err: err}
	case in.First != nil:
		return ofText(in.First)
	}
	for _, l := range []legacyIP{four, six} {
		if l.address.IsValid() {
			r.IPs = append(r.IPs, IP{Address: l.address, Gateway: l.gateway, Interface: NoInterface, Others: l.others})
			r.Routes = append(r.Routes, l.routes...)
		}
	}
	return nil
}

func (r *Result) field(in *jsontext.Reader, key string, four, six *legacyIP) error {
	switch key {
	case "cniversion":
		var v string
		err := in.Str(&v)
		if v != "" {
			r.CNIVersion = v
		}
		return err
	case "interfaces":
		return r.parseInterfaces(in)
	case "ips":
		return r.parseIPs(in)
	case "routes":
		return parseRoutes(in, &r.Routes)
	case "dns":
		dns := wire.DNS(r.DNS)
		_, err := dns.Read(in)
		r.DNS = DNS(dns)
		return err
	case "ip4":
		return four.parse(in)
	case "ip6":
		return six.parse(in)
	}
	return in.Keep(&r.Others)
}

// parseRoutes accepts any routes: plugins pass on routes that they don't use.
func parseRoutes(r *jsontext.Reader, to *[]Route) error {
	*to = nil
	return wire.ReadRoutes(r, func(route wire.Route) { *to = append(*to, Route(route)) })
}

// legacyIP is ip4 or ip6 of the versions 0.1.0 and 0.2.0.
type legacyIP struct {
	address netip.Prefix
	gateway netip.Addr
	routes  []Route
	others  string
}

func (l *legacyIP) parse(r *jsontext.Reader) error {
	return r.Object(func(key string) error {
		switch key {
		case "ip":
			return r.Prefix(&l.address)
		case "gateway":
			return r.Addr(&l.gateway)
		case "routes":
			return parseRoutes(r, &l.routes)
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
			return r.Keep(&i.Others)
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
			case "version": // of 0.3 and 0.4; the address tells it as well
				return nil
			}
			return r.Keep(&ip.Others)
		})
		if err == nil && !ip.Address.IsValid() {
			r.Invalid(`expected an object with "address"`)
		}
		res.IPs = append(res.IPs, ip)
		return err
	})
	return err
}
