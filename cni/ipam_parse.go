// SPDX-License-Identifier: Apache-2.0

package cni

import (
	"errors"
	"math"
	"net/netip"
	"path/filepath"
	"slices"

	"github.com/swiftcni/swiftcni/ipam"
)

// defaultDataDir is host-local's.
const defaultDataDir = "/var/lib/cni/networks"

// parseIPAM reads the ipam object twice: another IPAM's keys may have host-local's names and other types, so the
// type must be known first. null takes back all but the type, which main plugins go by.
func (n *Network) parseIPAM(r *reader) error {
	k := &n.ipam
	text, err := r.value()
	if err != nil {
		return err
	}
	if string(text) == "null" {
		*k = ipamKeys{own: k.own, plugin: k.plugin, dataDir: defaultDataDir, args: k.args, runtime: k.runtime, runtimeRanges: k.runtimeRanges}
		return nil
	}
	typed := newReader(text, "ipam")
	if err := typed.object(func(key string) error {
		if key == "type" {
			return typed.str(&k.plugin)
		}
		return nil
	}); err != nil {
		return err
	}
	k.present = true
	if k.own != "" {
		k.plugin = k.own
	}
	if typed.first != nil {
		r.note(typed.first)
	}
	keys := newReader(text, "ipam")
	keys.lax = k.own != "" // the routes are for whoever has asked
	return n.about(ofIPAM, keys, func() error { return keys.object(func(key string) error { return k.field(keys, key) }) })
}

// field reads one key of the ipam object.
func (k *ipamKeys) field(r *reader, key string) error {
	switch k.plugin {
	case hostLocal:
		return k.localField(r, key)
	case static:
		return k.staticField(r, key)
	}
	return nil
}

func (k *ipamKeys) localField(r *reader, key string) error {
	switch key {
	case "subnet":
		return r.prefix(&k.short.Subnet)
	case "rangestart":
		return r.addr(&k.short.Start)
	case "rangeend":
		return r.addr(&k.short.End)
	case "gateway":
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
	err := r.object(func(key string) error {
		switch key {
		case "dst":
			return r.prefix(&route.Dst)
		case "gw":
			return r.addr(&route.Gateway)
		case "mtu":
			return r.natural(&route.MTU, 1<<31-1)
		case "advmss":
			return r.natural(&route.AdvMSS, 1<<31-1)
		case "priority":
			return r.natural(&route.Priority, 1<<32-1)
		case "table":
			return r.pointer(&route.Table, 1<<32-1)
		case "scope":
			return r.pointer(&route.Scope, 255)
		}
		return r.keep(&route.others)
	})
	switch {
	case err != nil || r.lax && (r.keeps || route.Dst.IsValid()):
	case !route.Dst.IsValid():
		r.invalid(`expected a route with "dst"`)
	case route.Gateway.IsValid() && route.Gateway.Is4() != route.Dst.Addr().Is4():
		r.invalid(`expected "gw" of the family of "dst"`)
	}
	return route, err
}

// natural reads a number of a route, from 0 on.
func (r *reader) natural(to *int, most int) error {
	if r.lax {
		return r.integer(to)
	}
	return r.bounded(to, 0, most)
}

// pointer reads a number of a route that may be absent.
func (r *reader) pointer(to **int, most int) error {
	*to = nil
	n := math.MinInt
	err := r.natural(&n, most)
	if n != math.MinInt {
		*to = &n
	}
	return err
}

// wanted reads requested addresses, written as IP or IP/len.
func (r *reader) wanted(to *wishes) error {
	*to = wishes{}
	_, err := r.list(func() error {
		return r.text("an IP address", func(s string) bool {
			a, ok := parseWanted(s)
			if ok {
				to.addrs = append(to.addrs, a)
			}
			to.texts = append(to.texts, s)
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
	sets := slices.Clone(k.runtimeRanges)
	if k.short.Subnet.IsValid() { // else its other keys are of no range
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
