// SPDX-License-Identifier: Apache-2.0

package cni

import (
	"strconv"
	"strings"
)

// Versions of the specification that every plugin here speaks, oldest first.
func Versions() []string {
	return []string{"0.1.0", "0.2.0", "0.3.0", "0.3.1", "0.4.0", "1.0.0", "1.1.0"}
}

const newest = "1.1.0"

// version is a parsed version number. It orders as an array compares.
type version [3]int

func (v version) less(w version) bool {
	for i := range v {
		if v[i] != w[i] {
			return v[i] < w[i]
		}
	}
	return false
}

// parseVersion takes one to three numbers; what's missing is 0, and an empty string is 0.1.0.
func parseVersion(s string) (v version, ok bool) {
	if s == "" {
		return version{0, 1, 0}, true
	}
	parts := strings.Split(s, ".")
	if len(parts) > len(v) {
		return v, false
	}
	for i, p := range parts {
		n, err := strconv.Atoi(p)
		if err != nil || n < 0 {
			return v, false
		}
		v[i] = n
	}
	return v, true
}

// versionProblem says why a text is no version, as libcni does.
func versionProblem(s string) string {
	parts := strings.Split(s, ".")
	if len(parts) > len(version{}) {
		return "invalid version " + quote(s) + ": too many parts"
	}
	for i, p := range parts {
		if _, err := strconv.Atoi(p); err != nil {
			return "failed to convert " + [...]string{"major", "minor", "micro"}[i] + " version part " + quote(p) + ": " + err.Error()
		}
	}
	return "invalid version " + quote(s)
}

// form is the layout of a result, shared by several versions.
type form int

const (
	formLegacy  form = iota // 0.1.0, 0.2.0: ip4, ip6
	formMiddle              // 0.3.0 to 0.4.0: ips with a version each
	formCurrent             // 1.0.0 and later: keys in alphabetical order
)

func formOf(v version) form {
	switch {
	case v.less(version{0, 3, 0}):
		return formLegacy
	case v.less(version{1, 0, 0}):
		return formMiddle
	}
	return formCurrent
}

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
		v, ok := parseVersion(n.cniVersion)
		if !ok {
			return &Error{Code: CodeDecode, Msg: versionProblem(n.cniVersion), Details: "cniVersion", Key: "cniVersion"}
		}
		if v.less(since) {
			return &Error{Code: CodeIncompatibleVersion, Msg: "config version does not allow " + verb, Key: "cniVersion"}
		}
		if (version{1, 1, 0}).less(v) {
			return &Error{Code: CodeIncompatibleVersion, Msg: "plugin version does not allow " + verb, Key: "cniVersion"}
		}
	}
	return n.speaks(version{})
}

// speaks reports whether a plugin that came with a version of the specification speaks the configuration's.
func (n *Network) speaks(since version) error {
	var list []string
	for _, s := range Versions() {
		if v, _ := parseVersion(s); v.less(since) {
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
