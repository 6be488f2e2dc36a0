// SPDX-License-Identifier: Apache-2.0

package main

import (
	"errors"
	"fmt"
	"io/fs"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/swiftcni/swiftcni/rtnl"
	"golang.org/x/sys/unix"
)

// familyOf is the address family of an address.
func familyOf(a netip.Addr) uint8 {
	if a.Is4() {
		return unix.AF_INET
	}
	return unix.AF_INET6
}

// hasFirewalld reports whether firewalld has its rules in place.
func (x *examination) hasFirewalld() bool { return x.filters.Has("inet firewalld", "filter_FORWARD") }

// maxBaseChains is more than a ruleset needs for any number of attachments.
const maxBaseChains = 8

// ourTable is the end of the names of our tables, after the family.
const ourTable = " swiftcni"

// shared looks at the host's own rules, whoever is attached.
func (x *examination) shared() error {
	for _, missing := range x.host.detours {
		if strings.HasPrefix(missing, "chain ") && x.hasFirewalld() {
			// When firewalld starts, it empties iptables' tables. It's told of the addresses
			// instead.
			continue
		}
		x.add("missing-jump", "", "", "the "+missing+" is missing, so a firewall that drops forwarded packets cuts off the containers", "swiftctl sync")
	}
	for _, t := range x.filters.Dormant() {
		if strings.HasSuffix(t, ourTable) {
			x.add("dormant-table", "", "", "table "+t+" is dormant: the kernel skips all of its rules, such as masquerade and ports", "swiftctl sync")
		}
	}
	if n := len(x.filters.BaseChains()); n > maxBaseChains {
		x.add("many-chains", "", "", fmt.Sprintf("our own table has %d chains that the kernel visits, and %d are enough for any attachments: an earlier version made one for each subnet",
			n, maxBaseChains), "swiftctl sync")
	}
	return join(x.legacyRules(), x.advertisements())
}

// legacyRules are the rules of the CNI project's plugins in iptables-legacy for containers without
// a lease.
func (x *examination) legacyRules() error {
	list, err := legacyChains(x.node.leaseholders())
	for _, l := range ofNobody(list) {
		x.add("legacy-rules", "", "", l.String()+" belongs to no container with a lease here, and will affect the next container that gets the address", l.removal())
	}
	return err
}

// advertisements looks for uplinks that have lost their default route. While a host forwards IPv6,
// Linux accepts router advertisements only with accept_ra 2. A link that has never heard one isn't
// looked at: it has no address from one.
func (x *examination) advertisements() error {
	uses6 := slices.ContainsFunc(x.node.list, func(h *held) bool {
		return h.link.Index != 0 && slices.ContainsFunc(h.Addresses, netip.Addr.Is6)
	})
	if !uses6 {
		return nil
	}
	conn, err := rtnl.Dial(nil)
	if err != nil {
		return err
	}
	defer conn.Close()
	dirs, err := filepath.Glob("/proc/sys/net/ipv6/conf/*/accept_ra")
	for _, path := range dirs {
		link := filepath.Base(filepath.Dir(path))
		setting := func(key string) string {
			text, _ := os.ReadFile(filepath.Join(filepath.Dir(path), key))
			return strings.TrimSpace(string(text))
		}
		if link == "all" || link == "default" || setting("accept_ra") != "1" || setting("forwarding") != "1" || setting("accept_ra_defrtr") != "1" {
			continue
		}
		lost, linkErr := lostRouter(conn, link)
		err = join(err, linkErr)
		if lost {
			key := "net.ipv6.conf." + strings.ReplaceAll(link, ".", "/") + ".accept_ra"
			x.add("no-router", "", "", link+" has an address that a router advertised, and no default route: it ignores routers while the host forwards IPv6 and "+key+" is 1",
				"sysctl -w "+key+"=2")
		}
	}
	return err
}

// lostRouter reports whether a link has an address from a router advertisement, and no IPv6 default
// route.
func lostRouter(conn *rtnl.Conn, link string) (bool, error) {
	l, err := conn.Link(link)
	if err != nil || l.State != rtnl.Up {
		return false, nil // it's gone meanwhile
	}
	for r, err := range conn.Routes(rtnl.RouteFilter{Family: unix.AF_INET6, Link: l.Index}) {
		if err != nil || r.Dst.Bits() == 0 {
			return false, err
		}
	}
	for a, err := range conn.Addrs(l.Index, unix.AF_INET6) {
		if errors.Is(err, fs.ErrNotExist) {
			return false, nil
		}
		if err != nil {
			return false, err
		}
		if !a.Permanent && a.Prefix.Addr().IsGlobalUnicast() {
			return true, nil
		}
	}
	return false, nil
}

// route looks for the host's route to each address of a container of ptp.
func (x *examination) route(h *held) error {
	missing, err := x.node.missingRoutes(h, x.conf(h.Network))
	for _, r := range missing {
		x.add("missing-route", h.Network, h.who(), "the host has no route to "+r.Dst.Addr().String()+" by "+h.link.Name+
			"; systemd-networkd removes the routes of links that one of its .network files matches", routeRemedy(r, h.link.Name))
	}
	return err
}

func routeRemedy(r rtnl.Route, link string) string {
	remedy := "ip route add " + r.Dst.Addr().String() + " dev " + link
	if r.Scope == rtnl.ScopeHost {
		remedy += " scope host"
	}
	return remedy
}
