// SPDX-License-Identifier: Apache-2.0

package main

import (
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"regexp"
	"strings"
)

// verify makes sure that a contestant has done the work for which it's timed. After ADD the
// container has an address and a default route, a port, a lease and a masquerade rule. After DEL
// none of them is left.
func verify(c Contestant, at container, verb string) error {
	address, err := addressOf(at)
	if err != nil {
		return err
	}
	attached := verb == verbAdd
	if attached != address.IsValid() {
		return fmt.Errorf("the container's address is %v", address)
	}
	if attached {
		route, err := output("nsenter", "--net="+at.netns, "ip", "-4", "route", "show", "default")
		if err != nil {
			return err
		}
		if !strings.Contains(route, "dev eth0") {
			return fmt.Errorf("the container's default route is %q", route)
		}
	}
	if c.Bridge != "" {
		ports, err := output("ip", "-brief", "link", "show", "master", c.Bridge)
		if err != nil {
			return err
		}
		if attached != strings.Contains(ports, "UP") {
			return fmt.Errorf("ports of %s: %q", c.Bridge, ports)
		}
	}
	if err := verifyLease(c, address); err != nil {
		return err
	}
	return verifyRules(c, address)
}

// addressOf returns eth0's address, or the zero Addr if there is no eth0.
func addressOf(at container) (netip.Addr, error) {
	line, err := output("nsenter", "--net="+at.netns, "ip", "-brief", "-4", "address", "show", "scope", "global")
	if err != nil {
		return netip.Addr{}, err
	}
	fields := strings.Fields(line)
	if len(fields) < 3 || !strings.HasPrefix(fields[0], "eth0") {
		return netip.Addr{}, nil
	}
	prefix, err := netip.ParsePrefix(fields[2])
	return prefix.Addr(), err
}

// verifyLease wants the one lease that there may be. address is invalid once the container is
// detached.
func verifyLease(c Contestant, address netip.Addr) error {
	if c.Leases == "" {
		return nil
	}
	entries, err := os.ReadDir(c.Leases)
	if err != nil {
		return err
	}
	var held []string
	for _, e := range entries {
		if _, err := netip.ParseAddr(e.Name()); err == nil {
			held = append(held, e.Name())
		}
	}
	switch {
	case !address.IsValid() && len(held) > 0:
		return fmt.Errorf("leases left in %s: %v", c.Leases, held)
	case address.IsValid() && (len(held) != 1 || held[0] != address.String()):
		return fmt.Errorf("leases in %s: %v, want %s", filepath.Clean(c.Leases), held, address)
	}
	return nil
}

func verifyRules(c Contestant, address netip.Addr) error {
	if c.Rules == nil {
		return nil
	}
	rules, err := output(c.Rules...)
	if err != nil {
		return err
	}
	if !address.IsValid() {
		if left := leftIn(rules, c.Subnet); left.IsValid() {
			return fmt.Errorf("%s is left in the rules:\n%s", left, rules)
		}
		return nil
	}
	if !names(rules, address.String()) {
		return fmt.Errorf("%s is not in the rules:\n%s", address, rules)
	}
	return nil
}

// names reports whether a text holds an address, and not merely a longer one that begins with it.
func names(text, address string) bool {
	for {
		_, rest, found := strings.Cut(text, address)
		if !found {
			return false
		}
		if rest == "" || rest[0] < '0' || rest[0] > '9' {
			return true
		}
		text = rest
	}
}

var anAddress = regexp.MustCompile(`\d+\.\d+\.\d+\.\d+`)

// leftIn returns an address of the subnet that a text holds and that is neither the subnet's own
// nor the gateway's.
func leftIn(text, subnet string) netip.Addr {
	prefix, err := netip.ParsePrefix(subnet)
	if err != nil {
		return netip.Addr{} // a contestant that doesn't say where its addresses come from
	}
	for _, word := range anAddress.FindAllString(text, -1) {
		a, err := netip.ParseAddr(word)
		if err == nil && prefix.Contains(a) && a != prefix.Addr() && a != prefix.Addr().Next() {
			return a
		}
	}
	return netip.Addr{}
}
