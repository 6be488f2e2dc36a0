// SPDX-License-Identifier: Apache-2.0

package cni

import (
	"net/netip"
	"slices"
	"strings"
)

// parseArgs reads CNI_ARGS, "K=V;K2=V2". The keys of bridge and of its IPAM plugins are all known here, so
// that one meant for the other isn't an error; the rest needs IgnoreUnknown=1.
func parseArgs(a *Attachment) (badIP, _ error) {
	if a.Args == "" {
		return badIP, nil
	}
	var unknown []string
	ignore := false
	for pair := range strings.SplitSeq(a.Args, ";") {
		key, value, ok := strings.Cut(pair, "=")
		if !ok || strings.Contains(value, "=") {
			return badIP, argsError("ARGS: invalid pair " + quote(pair))
		}
		switch key {
		case "IgnoreUnknown":
			on, ok := parseBool(value)
			if !ok {
				return badIP, invalidArg(pair, "boolean unmarshal error: invalid input "+value, `expected "1", "true", "0" or "false"`)
			}
			ignore = on
		case "MAC":
			a.MAC = value
		case "IP":
			a.Addrs, badIP = wantedByArgs(pair, value)
		case "GATEWAY": // of the static plugin
		default:
			unknown = append(unknown, quote(pair))
		}
	}
	if unknown != nil && !ignore {
		return badIP, argsError("ARGS: unknown args [" + strings.Join(unknown, " ") + "]")
	}
	return badIP, nil
}

// wantedByArgs reads a list of addresses. The static plugin takes them with lengths, and reads them itself. An empty value
// asks for nothing.
func wantedByArgs(pair, value string) (list []netip.Addr, _ error) {
	if value == "" {
		return nil, nil
	}
	for one := range strings.SplitSeq(value, ",") {
		one = strings.TrimSpace(one)
		addr, ok := parseWanted(one)
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
	return &Error{Code: CodeInvalidEnvironment, Msg: "ARGS: error parsing value of pair " + quote(pair) + ": " + problem, Details: expected, Key: "CNI_ARGS"}
}

func argsError(msg string) error {
	return &Error{Code: CodeInvalidEnvironment, Msg: msg, Key: "CNI_ARGS"}
}
