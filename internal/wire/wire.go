// SPDX-License-Identifier: Apache-2.0

// Package wire reads the parts that configurations and results have in common. Its types are those
// of package spec, which imports this one.
package wire

import (
	"math"
	"net/netip"
	"strconv"

	"github.com/swiftcni/swiftcni/internal/jsontext"
)

// A Route has the fields of spec.Route.
type Route struct {
	Dst      netip.Prefix
	Gateway  netip.Addr
	MTU      int
	AdvMSS   int
	Priority int
	Table    *int
	Scope    *int

	Others string
}

// DNS has the fields of spec.DNS.
type DNS struct {
	Nameservers []string
	Domain      string
	Search      []string
	Options     []string

	Others string
}

// Read reads a dns object. present reports whether there is a domain or any list, also an empty
// one.
func (d *DNS) Read(r *jsontext.Reader) (present bool, _ error) {
	list := func(to *[]string) error {
		is, err := r.Strs(to)
		present = present || is
		return err
	}
	err := r.Object(func(key string) error {
		switch key {
		case "nameservers":
			return list(&d.Nameservers)
		case "search":
			return list(&d.Search)
		case "options":
			return list(&d.Options)
		case "domain":
			err := r.Str(&d.Domain)
			present = present || d.Domain != ""
			return err
		}
		return r.Keep(&d.Others)
	})
	return present, err
}

// ReadRoutes reads a list of route objects. It calls each for each of them while the reader's path
// is that route's.
func ReadRoutes(r *jsontext.Reader, each func(Route)) error {
	_, err := r.List(func() error {
		route := Route{}
		err := route.read(r)
		if err == nil {
			each(route)
		}
		return err
	})
	return err
}

func (route *Route) read(r *jsontext.Reader) error {
	return r.Object(func(key string) error {
		switch key {
		case "dst":
			return r.Prefix(&route.Dst)
		case "gw":
			return r.Addr(&route.Gateway)
		case "mtu":
			return r.Integer(&route.MTU)
		case "advmss":
			return r.Integer(&route.AdvMSS)
		case "priority":
			return r.Integer(&route.Priority)
		case "table":
			return readPointer(r, &route.Table)
		case "scope":
			return readPointer(r, &route.Scope)
		}
		return r.Keep(&route.Others)
	})
}

// readPointer reads a number that may be absent.
func readPointer(r *jsontext.Reader, to **int) error {
	*to = nil
	n := math.MinInt
	err := r.Integer(&n)
	if n != math.MinInt {
		*to = &n
	}
	return err
}

// maxUint32 is the kernel's limit or, where an int has 32 bits, that of what can be read.
const maxUint32 = math.MaxUint32 & math.MaxInt

// Problem finds the error in a route for a link: the key, which is empty for the route as a whole,
// and the expectation. Both are empty if there is no error.
func (route *Route) Problem() (key, expected string) {
	for _, n := range []struct {
		key   string
		value int
		most  int
	}{
		{"mtu", route.MTU, 1<<31 - 1}, {"advmss", route.AdvMSS, 1<<31 - 1}, {"priority", route.Priority, maxUint32},
		{"table", or0(route.Table), maxUint32}, {"scope", or0(route.Scope), 255},
	} {
		if n.value < 0 || n.value > n.most {
			return n.key, "expected 0 to " + strconv.Itoa(n.most) + ", got " + strconv.Itoa(n.value)
		}
	}
	switch {
	case !route.Dst.IsValid():
		return "", `expected a route with "dst"`
	case route.Gateway.IsValid() && route.Gateway.Is4() != route.Dst.Addr().Is4():
		return "", `expected "gw" of the family of "dst"`
	}
	return "", ""
}

func or0(n *int) int {
	if n == nil {
		return 0
	}
	return *n
}
