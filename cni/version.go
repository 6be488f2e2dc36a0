// SPDX-License-Identifier: Apache-2.0

package cni

import (
	"strconv"
	"strings"

	"github.com/swiftcni/swiftcni/cni/spec"
	"github.com/swiftcni/swiftcni/internal/specversion"
)

// Versions of the specification that every plugin here speaks, oldest first.
func Versions() []string { return spec.Versions() }

// version is a parsed version number.
type version = specversion.Number

// allow is the version gate: may a configuration of this version be used with the verb?
// CHECK came with 0.4.0, GC and STATUS with 1.1.0.
func (n *Network) allow(verb string) error {
	since := version{}
	switch verb {
	case "CHECK":
		since = version{0, 4, 0}
	case "GC", "STATUS":
		since = version{1, 1, 0}
	}
	if since != (version{}) {
		v, ok := specversion.Parse(n.cniVersion)
		if !ok {
			return &Error{Code: CodeDecode, Msg: specversion.Problem(n.cniVersion), Details: "cniVersion", Key: "cniVersion"}
		}
		if v.Less(since) {
			return &Error{Code: CodeIncompatibleVersion, Msg: "config version does not allow " + verb, Key: "cniVersion"}
		}
		if (version{1, 1, 0}).Less(v) {
			return &Error{Code: CodeIncompatibleVersion, Msg: "plugin version does not allow " + verb, Key: "cniVersion"}
		}
	}
	return n.speaks(version{})
}

// speaks reports whether a plugin that came with a version of the specification speaks the configuration's.
func (n *Network) speaks(since version) error {
	var list []string
	for _, s := range Versions() {
		if v, _ := specversion.Parse(s); v.Less(since) {
			continue
		}
		if s == n.cniVersion {
			return nil
		}
		list = append(list, strconv.Quote(s))
	}
	return &Error{
		Code:    CodeIncompatibleVersion,
		Msg:     "incompatible CNI versions",
		Details: "config is " + strconv.Quote(n.cniVersion) + ", plugin supports [" + strings.Join(list, " ") + "]",
		Key:     "cniVersion",
	}
}
