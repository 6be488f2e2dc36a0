// SPDX-License-Identifier: Apache-2.0

package netconf

import (
	"errors"
	"net/netip"
	"path/filepath"
	"slices"
	"strconv"

	"github.com/swiftcni/swiftcni/cni/spec"
	"github.com/swiftcni/swiftcni/internal/fault"
	"github.com/swiftcni/swiftcni/internal/jsontext"
	"github.com/swiftcni/swiftcni/internal/specversion"
	"github.com/swiftcni/swiftcni/internal/wire"
	"github.com/swiftcni/swiftcni/ipam"
)

// The IPAM plugins that are built in. DHCP's addresses are another program's all the same.
const (
	HostLocal = "host-local"
	Static    = "static"
	DHCP      = "dhcp"
)

// DefaultDataDir is host-local's.
const DefaultDataDir = ipam.DefaultDir

// IPAM is the key "ipam", with what a runtime wishes of addresses. The keys of an IPAM plugin
// that's a program of its own aren't read.
type IPAM struct {
	Plugin string // "type"; empty means that the network has no addresses
	own    string // the IPAM plugin that reads its own configuration, whatever "type" says
	There  bool   // the key is

	Routes []spec.Route

	// Of host-local.
	DataDir    string
	ResolvConf string
	Sets       []ipam.RangeSet // all of them, canonical
	SetsErr    *spec.Error     // what is wrong with them
	short      ipam.Range      // subnet, rangeStart, rangeEnd, gateway
	ranges     []ipam.RangeSet

	// Of static.
	Addresses []spec.IP
	DNS       spec.DNS

	// Of dhcp, whose other keys the daemon reads.
	Socket string // daemonSocketPath

	Args, Runtime Wishes          // args.cni.ips, runtimeConfig.ips
	runtimeRanges []ipam.RangeSet // runtimeConfig.ipRanges
}

// Wishes are addresses that are asked for, and their texts: static needs the lengths that
// host-local ignores.
type Wishes struct {
	Addrs []netip.Addr
	Texts []string
}

// IsOurs reports whether the addresses are given in this process.
func (k *IPAM) IsOurs() bool { return k.Plugin == HostLocal || k.Plugin == Static }

// readIPAM reads the ipam object twice: another IPAM's keys may have host-local's names and other
// types, so the type must be known first. null takes back all but the type, which main plugins go
// by.
func (n *Network) readIPAM(r *jsontext.Reader) error {
	k := &n.IPAM
	text, err := r.Value()
	if err != nil {
		return err
	}
	if string(text) == "null" {
		*k = IPAM{own: k.own, Plugin: k.Plugin, DataDir: DefaultDataDir, Args: k.Args, Runtime: k.Runtime, runtimeRanges: k.runtimeRanges}
		return nil
	}
	typed := jsontext.NewReader(text, "ipam")
	if err := typed.Object(func(key string) error {
		if key == "type" {
			return typed.Str(&k.Plugin)
		}
		return nil
	}); err != nil {
		return err
	}
	k.There = true
	if k.own != "" {
		k.Plugin = k.own
	}
	if typed.First != nil {
		r.Note(typed.First)
	}
	of := OfIPAM
	if k.Plugin == DHCP {
		of = OfDHCP
	}
	keys := jsontext.NewReader(text, "ipam")
	return n.about(of, keys, func() error { return keys.Object(func(key string) error { return k.field(keys, key) }) })
}

// field reads one key of the ipam object.
func (k *IPAM) field(r *jsontext.Reader, key string) error {
	switch k.Plugin {
	case HostLocal:
		return k.localField(r, key)
	case Static:
		return k.staticField(r, key)
	case DHCP:
		return k.dhcpField(r, key)
	}
	return nil
}

func (k *IPAM) localField(r *jsontext.Reader, key string) error {
	switch key {
	case "subnet":
		return r.Prefix(&k.short.Subnet)
	case "rangestart":
		return r.Addr(&k.short.Start)
	case "rangeend":
		return r.Addr(&k.short.End)
	case "gateway":
		return r.Addr(&k.short.Gateway)
	case "ranges":
		return readRangeSets(r, &k.ranges)
	case "routes":
		return k.readRoutes(r)
	case "datadir":
		return k.readDataDir(r)
	case "resolvconf":
		return r.Str(&k.ResolvConf)
	}
	return nil
}

func (k *IPAM) staticField(r *jsontext.Reader, key string) error {
	switch key {
	case "addresses":
		return k.readAddresses(r)
	case "routes":
		return k.readRoutes(r)
	case "dns":
		dns := wire.DNS{}
		_, err := dns.Read(r)
		k.DNS = spec.DNS(dns)
		return err
	}
	return nil
}

func (k *IPAM) readAddresses(r *jsontext.Reader) error {
	k.Addresses = nil
	_, err := r.List(func() error {
		ip := spec.IP{Interface: spec.NoInterface}
		var text string
		err := r.Object(func(key string) error {
			switch key {
			case "address":
				if r.Kind() == '{' { // the reference's own type, printed, has its "Address" too
					return nil
				}
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
		k.Addresses = append(k.Addresses, ip)
		return err
	})
	return err
}

func (k *IPAM) readDataDir(r *jsontext.Reader) error {
	var dir string
	if err := r.Str(&dir); err != nil || dir == "" {
		return err
	}
	if !filepath.IsAbs(dir) || len(dir) > 4000 {
		r.Invalid("expected an absolute path, got " + strconv.Quote(dir))
		return nil
	}
	k.DataDir = filepath.Clean(dir)
	return nil
}

// readRangeSets reads a list of lists of ranges.
func readRangeSets(r *jsontext.Reader, to *[]ipam.RangeSet) error {
	*to = nil
	_, err := r.List(func() error {
		set := ipam.RangeSet{}
		_, err := r.List(func() error {
			var rg ipam.Range
			err := r.Object(func(key string) error {
				switch key {
				case "subnet":
					return r.Prefix(&rg.Subnet)
				case "rangestart":
					return r.Addr(&rg.Start)
				case "rangeend":
					return r.Addr(&rg.End)
				case "gateway":
					return r.Addr(&rg.Gateway)
				}
				return nil
			})
			set = append(set, rg)
			return err
		})
		*to = append(*to, set)
		return err
	})
	return err
}

// readRoutes reads a list of routes. Those of an IPAM plugin that reads its own configuration are
// for whoever has asked, and taken whatever they say, but they must lead somewhere.
func (k *IPAM) readRoutes(r *jsontext.Reader) error {
	k.Routes = nil
	return wire.ReadRoutes(r, func(route wire.Route) {
		key, problem := route.Problem()
		if k.own != "" && route.Dst.IsValid() {
			problem = ""
		}
		if problem != "" {
			r.InvalidKey(key, problem)
		}
		k.Routes = append(k.Routes, spec.Route(route))
	})
}

// read reads requested addresses, written as IP or IP/len.
func (w *Wishes) read(r *jsontext.Reader) error {
	*w = Wishes{}
	_, err := r.List(func() error {
		return r.Text("an IP address", func(s string) bool {
			a, ok := ParseWish(s)
			if ok {
				w.Addrs = append(w.Addrs, a)
			}
			w.Texts = append(w.Texts, s)
			return ok
		})
	})
	return err
}

// ParseWish reads a requested address; a prefix length is allowed and means nothing.
func ParseWish(s string) (netip.Addr, bool) {
	if p, ok := jsontext.ParsePrefix(s); ok {
		return p.Addr(), true
	}
	a, err := netip.ParseAddr(s)
	return a.Unmap(), err == nil && a.Zone() == ""
}

// joinSets joins the three sources of range sets in the order that numbers them, and makes them
// canonical.
func (k *IPAM) joinSets(cniVersion string) {
	if !k.There {
		k.SetsErr = fault.Key("ipam", "IPAM config missing 'ipam' key")
		return
	}
	sets := slices.Clone(k.runtimeRanges)
	if k.short.Subnet.IsValid() { // else its other keys are of no range
		sets = append(sets, ipam.RangeSet{k.short})
	}
	sets, err := ipam.CanonicalSets(append(sets, k.ranges...))
	var overlap *ipam.OverlapError
	switch {
	case err != nil && !errors.As(err, &overlap):
		k.SetsErr = &spec.Error{Code: spec.CodeInvalidNetwork, Msg: err.Error(), Key: "ipam", Err: err}
	case severalOfAFamily(cniVersion, sets):
		k.SetsErr = onePerFamily(cniVersion)
	case err != nil:
		k.SetsErr = &spec.Error{Code: spec.CodeInvalidNetwork, Msg: err.Error(), Key: "ipam", Err: err}
	}
	k.Sets = sets
}

// severalOfAFamily reports whether the sets give more than a result of this version can hold.
func severalOfAFamily(cniVersion string, sets []ipam.RangeSet) bool {
	v, ok := specversion.Parse(cniVersion)
	if !ok || v.Form() != specversion.Legacy {
		return false
	}
	var v4, v6 int
	for _, s := range sets {
		if s[0].Subnet.Addr().Is4() {
			v4++
		} else {
			v6++
		}
	}
	return v4 > 1 || v6 > 1
}

// CheckAddresses refuses addresses that a result of the network's version has no place for, before
// the kernel gets them.
func (n *Network) CheckAddresses(ips []spec.IP) error {
	four := 0
	for _, ip := range ips {
		if ip.Address.Addr().Is4() {
			four++
		}
	}
	if n.Version().Form() == specversion.Legacy && (four > 1 || len(ips)-four > 1) {
		return onePerFamily(n.CNIVersion)
	}
	return nil
}

func onePerFamily(cniVersion string) *spec.Error {
	return fault.Key("ipam", "CNI version "+cniVersion+" does not support more than 1 address per family")
}
