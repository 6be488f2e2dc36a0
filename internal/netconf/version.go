// SPDX-License-Identifier: Apache-2.0

package netconf

import (
	"strconv"
	"strings"

	"github.com/swiftcni/swiftcni/cni/spec"
	"github.com/swiftcni/swiftcni/internal/specversion"
)

// Allow is the version gate: may a configuration of this version be used with the verb?
// CHECK came with 0.4.0, GC and STATUS with 1.1.0.
func (n *Network) Allow(verb string) *spec.Error {
	since := specversion.Number{}
	switch verb {
	case "CHECK":
		since = specversion.Number{0, 4, 0}
	case "GC", "STATUS":
		since = specversion.Number{1, 1, 0}
	}
	if since != (specversion.Number{}) {
		v, ok := specversion.Parse(n.CNIVersion)
		if !ok {
			return &spec.Error{Code: spec.CodeDecode, Msg: specversion.Problem(n.CNIVersion), Details: "cniVersion", Key: "cniVersion"}
		}
		if v.Less(since) {
			return &spec.Error{Code: spec.CodeIncompatibleVersion, Msg: "config version does not allow " + verb, Key: "cniVersion"}
		}
		if (specversion.Number{1, 1, 0}).Less(v) {
			return &spec.Error{Code: spec.CodeIncompatibleVersion, Msg: "plugin version does not allow " + verb, Key: "cniVersion"}
		}
	}
	return n.Speaks(specversion.Number{})
}

// Speaks says what is wrong with the configuration's version for a plugin that came with a version
// of the specification.
func (n *Network) Speaks(since specversion.Number) *spec.Error {
	var list []string
	for _, s := range specversion.List() {
		if v, _ := specversion.Parse(s); v.Less(since) {
			continue
		}
		if s == n.CNIVersion {
			return nil
		}
		list = append(list, strconv.Quote(s))
	}
	return &spec.Error{
		Code:    spec.CodeIncompatibleVersion,
		Msg:     "incompatible CNI versions",
		Details: "config is " + strconv.Quote(n.CNIVersion) + ", plugin supports [" + strings.Join(list, " ") + "]",
		Key:     "cniVersion",
	}
}
