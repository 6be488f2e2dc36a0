// SPDX-License-Identifier: Apache-2.0

package cni

import (
	"errors"
	"net/netip"
	"path/filepath"
	"slices"

	"github.com/swiftcni/swiftcni/ipam"
)

// defaultDataDir is host-local's.
const defaultDataDir = "/var/lib/cni/networks"

// parse reads the ipam object twice: another IPAM's keys may have host-local's names and other types, so the
// type must be known first.
func (k *ipamKeys) parse(r *reader) error {
	text, err := r.value()
	if err != nil || string(text) == "null" {
		return err
	}
	typed := newReader(text, "ipam")
	if err := typed.object(func(key string) error {
		k.present = true
		if key == "type" {
			return typed.str(&k.plugin)
		}
		return nil
	}); err != nil {
		return err
	}
	k.present = true
	if typed.first != nil {
		r.note(typed.first)
	}
	keys := newReader(text, "ipam")
	switch k.plugin {
	case hostLocal:
		k.dataDir = defaultDataDir
		err = keys.object(func(key string) error { return k.field(keys, key) })
	case static:
		err = keys.object(func(key string) error { return k.staticField(keys, key) })
	}
	if keys.first != nil {
		r.note(keys.first)
	}
	return err
}

func (k *ipamKeys) field(r *reader, key string) error {
	switch key {
	case "subnet":
		k.hasShort = true
		return r.prefix(&k.short.Subnet)
	case "rangestart":
		k.hasShort = true
		return r.addr(&k.short.Start)
	case "rangeend":
		k.hasShort = true
		return r.addr(&k.short.End)
	case "gateway":
		k.hasShort = true
		return r.addr(&k.short.Gateway)
	case "ranges":
		return r.rangeSets(&k.ranges)
	case "routes":
		return r.routes(&k.routes)
	case "datadir":
		return k.parseDataDir(r)
	case "resolvconf":
		return r.str(&k.resolvConf)
	}
	return nil
}

func (k *ipamKeys) parseDataDir(r *reader) error {
	var dir string
	if err := r.str(&dir); err != nil || dir == "" {
		return err
	}
	if !filepath.IsAbs(dir) || len(dir) > 4000 {
		r.invalid("expected an absolute path, got " + quote(dir))
		return nil
	}
	k.dataDir = filepath.Clean(dir)
	return nil
}

// rangeSets reads a list of lists of ranges.
func (r *reader) rangeSets(to *[]ipam.RangeSet) error {
	*to = nil
	_, err := r.list(func() error {
		set := ipam.RangeSet{}
		_, err := r.list(func() error {
			var rg ipam.Range
			err := r.object(func(key string) error {
				switch key {
				case "subnet":
					return r.prefix(&rg.Subnet)
				case "rangestart":
					return r.addr(&rg.Start)
				case "rangeend":
					return r.addr(&rg.End)
				case "gateway":
					return r.addr(&rg.Gateway)
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

// routes reads a list of route objects.
func (r *reader) routes(to *[]Route) error {
	*to = nil
	_, err := r.list(func() error {
		route, err := r.route()
		*to = append(*to, route)
		return err
	})
	return err
}

func (r *reader) route() (Route, error) {
	var route Route
	var table, scope = -1, -1
	err := r.object(func(key string) error {
		switch key {
		case "dst":
			return r.prefix(&route.Dst)
		case "gw":
			return r.addr(&route.Gateway)
		case "mtu":
			return r.bounded(&route.MTU, 0, 1<<31-1)
		case "advmss":
			return r.bounded(&route.AdvMSS, 0, 1<<31-1)
		case "priority":
			return r.bounded(&route.Priority, 0, 1<<32-1)
		case "table":
			return r.bounded(&table, 0, 1<<32-1)
		case "scope":
			return r.bounded(&scope, 0, 255)
		}
		return nil
	})
	if table >= 0 {
		route.Table = &table
	}
	if scope >= 0 {
		route.Scope = &scope
	}
	if err == nil && !route.Dst.IsValid() {
		r.invalid(`expected a route with "dst"`)
	}
	if route.Gateway.IsValid() && route.Dst.IsValid() && route.Gateway.Is4() != route.Dst.Addr().Is4() {
		r.invalid(`expected "gw" of the family of "dst"`)
	}
	return route, err
}

// wanted adds requested addresses, written as IP or IP/len, to those from elsewhere. The texts are kept for an
// IPAM plugin that needs the length.
func (r *reader) wanted(to *[]netip.Addr, texts *[]string) error {
	*texts = nil
	_, err := r.list(func() error {
		return r.text("an IP address", func(s string) bool {
			a, ok := parseWanted(s)
			if ok && !slices.Contains(*to, a) {
				*to = append(*to, a)
			}
			*texts = append(*texts, s)
			return ok
		})
	})
	return err
}

// parseWanted reads a requested address; a prefix length is allowed and means nothing.
func parseWanted(s string) (netip.Addr, bool) {
	if p, ok := parsePrefix(s); ok {
		return p.Addr(), true
	}
	a, err := netip.ParseAddr(s)
	return a.Unmap(), err == nil && a.Zone() == ""
}

// joinSets joins the three sources of range sets in the order that numbers them, and makes them canonical.
func (k *ipamKeys) joinSets(cniVersion string) {
	if !k.present {
		k.setsErr = invalidKey("ipam", "IPAM config missing 'ipam' key")
		return
	}
	sets := slices.Clone(k.runtime)
	if k.hasShort {
		sets = append(sets, ipam.RangeSet{k.short})
	}
	sets, err := ipam.CanonicalSets(append(sets, k.ranges...))
	var overlap *ipam.OverlapError
	switch {
	case err != nil && !errors.As(err, &overlap):
		k.setsErr = &Error{Code: CodeInvalidNetwork, Msg: err.Error(), Key: "ipam", Err: err}
	case severalOfAFamily(cniVersion, sets):
		k.setsErr = onePerFamily(cniVersion)
	case err != nil:
		k.setsErr = &Error{Code: CodeInvalidNetwork, Msg: err.Error(), Key: "ipam", Err: err}
	}
	k.sets = sets
}

// severalOfAFamily reports whether the sets give more than a result of this version can hold.
func severalOfAFamily(cniVersion string, sets []ipam.RangeSet) bool {
	v, ok := parseVersion(cniVersion)
	if !ok || formOf(v) != formLegacy {
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

func onePerFamily(cniVersion string) *Error {
	return invalidKey("ipam", "CNI version "+cniVersion+" does not support more than 1 address per family")
}
