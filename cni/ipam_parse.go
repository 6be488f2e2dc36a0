// SPDX-License-Identifier: Apache-2.0

package cni

import (
	"errors"
	"net/netip"
	"path/filepath"
	"slices"

	"github.com/swiftcni/swiftcni/internal/jsontext"
	"github.com/swiftcni/swiftcni/internal/specversion"
	"github.com/swiftcni/swiftcni/internal/wire"
	"github.com/swiftcni/swiftcni/ipam"
)

// defaultDataDir is host-local's.
const defaultDataDir = "/var/lib/cni/networks"

// parseIPAM reads the ipam object twice: another IPAM's keys may have host-local's names and other types, so the
// type must be known first. null takes back all but the type, which main plugins go by.
func (n *Network) parseIPAM(r *jsontext.Reader) error {
	k := &n.ipam
	text, err := r.Value()
	if err != nil {
		return err
	}
	if string(text) == "null" {
		*k = ipamKeys{own: k.own, plugin: k.plugin, dataDir: defaultDataDir, args: k.args, runtime: k.runtime, runtimeRanges: k.runtimeRanges}
		return nil
	}
	typed := jsontext.NewReader(text, "ipam")
	if err := typed.Object(func(key string) error {
		if key == "type" {
			return typed.Str(&k.plugin)
		}
		return nil
	}); err != nil {
		return err
	}
	k.present = true
	if k.own != "" {
		k.plugin = k.own
	}
	if typed.First != nil {
		r.Note(typed.First)
	}
	keys := jsontext.NewReader(text, "ipam")
	return n.about(ofIPAM, keys, func() error { return keys.Object(func(key string) error { return k.field(keys, key) }) })
}

// field reads one key of the ipam object.
func (k *ipamKeys) field(r *jsontext.Reader, key string) error {
	switch k.plugin {
	case hostLocal:
		return k.localField(r, key)
	case static:
		return k.staticField(r, key)
	}
	return nil
}

func (k *ipamKeys) localField(r *jsontext.Reader, key string) error {
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
		return k.parseRoutes(r)
	case "datadir":
		return k.parseDataDir(r)
	case "resolvconf":
		return r.Str(&k.resolvConf)
	}
	return nil
}

func (k *ipamKeys) parseDataDir(r *jsontext.Reader) error {
	var dir string
	if err := r.Str(&dir); err != nil || dir == "" {
		return err
	}
	if !filepath.IsAbs(dir) || len(dir) > 4000 {
		r.Invalid("expected an absolute path, got " + quote(dir))
		return nil
	}
	k.dataDir = filepath.Clean(dir)
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

// parseRoutes reads a list of routes. Those of an IPAM plugin that reads its own configuration are for whoever has asked, and
// taken whatever they say, but they must lead somewhere.
func (k *ipamKeys) parseRoutes(r *jsontext.Reader) error {
	k.routes = nil
	return wire.ReadRoutes(r, func(route wire.Route) {
		key, problem := route.Problem()
		if k.own != "" && route.Dst.IsValid() {
			problem = ""
		}
		if problem != "" {
			r.InvalidKey(key, problem)
		}
		k.routes = append(k.routes, Route(route))
	})
}

// readWanted reads requested addresses, written as IP or IP/len.
func readWanted(r *jsontext.Reader, to *wishes) error {
	*to = wishes{}
	_, err := r.List(func() error {
		return r.Text("an IP address", func(s string) bool {
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
	if p, ok := jsontext.ParsePrefix(s); ok {
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

func onePerFamily(cniVersion string) *Error {
	return invalidKey("ipam", "CNI version "+cniVersion+" does not support more than 1 address per family")
}
