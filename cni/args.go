// SPDX-License-Identifier: Apache-2.0

package cni

import (
	"net/netip"
	"slices"
	"strconv"
	"strings"

	"github.com/swiftcni/swiftcni/internal/fault"
	"github.com/swiftcni/swiftcni/internal/netconf"
)

// arguments are the wishes in CNI_ARGS.
type arguments struct {
	mac   string // as it's written: results and errors quote it
	addrs []netip.Addr
	badIP error // what is wrong with the addresses, for a plugin that gives some
	bad   error // what is wrong with the rest; reading ends there
}

// parseArgs reads CNI_ARGS, "K=V;K2=V2". The keys of bridge and of its IPAM plugins are all known
// here, so that one meant for the other isn't an error; the rest needs IgnoreUnknown=1.
func parseArgs(text string) (w arguments) {
	if text == "" {
		return w
	}
	var unknown []string
	ignore := false
	for pair := range strings.SplitSeq(text, ";") {
		key, value, ok := strings.Cut(pair, "=")
		if !ok || strings.Contains(value, "=") {
			w.bad = fault.Args("ARGS: invalid pair " + strconv.Quote(pair))
			return w
		}
		switch key {
		case "IgnoreUnknown":
			on, ok := parseBool(value)
			if !ok {
				w.bad = invalidArg(pair, "boolean unmarshal error: invalid input "+value, `expected "1", "true", "0" or "false"`)
				return w
			}
			ignore = on
		case "MAC":
			w.mac = value
		case "IP":
			w.addrs, w.badIP = wantedByArgs(pair, value)
		case "GATEWAY": // of the static plugin
		default:
			unknown = append(unknown, strconv.Quote(pair))
		}
	}
	if unknown != nil && !ignore {
		w.bad = fault.Args("ARGS: unknown args [" + strings.Join(unknown, " ") + "]")
	}
	return w
}

// wantedByArgs reads a list of addresses. The static plugin takes them with lengths, and reads them itself. An empty value
// asks for nothing.
func wantedByArgs(pair, value string) (list []netip.Addr, _ error) {
	if value == "" {
		return nil, nil
	}
	for one := range strings.SplitSeq(value, ",") {
		one = strings.TrimSpace(one)
		addr, ok := netconf.ParseWish(one)
		if !ok {
			return list, invalidArg(pair, "invalid IP address "+one, "")
		}
		if !slices.Contains(list, addr) {
			list = append(list, addr)
		}
	}
	return list, nil
}

func parseBool(s string) (on, ok bool) {
	switch strings.ToLower(s) {
	case "1", "true":
		return true, true
	case "0", "false":
		return false, true
	}
	return false, false
}

// invalidArg is of a pair whose value isn't what its key wants.
func invalidArg(pair, problem, expected string) error {
	return &Error{Code: CodeInvalidEnvironment, Msg: "ARGS: error parsing value of pair " + strconv.Quote(pair) + ": " + problem, Details: expected, Key: "CNI_ARGS"}
}
