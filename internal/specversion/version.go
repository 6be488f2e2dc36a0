// SPDX-License-Identifier: Apache-2.0

// Package specversion knows the versions of the specification: their order, and the form of a
// result in each.
package specversion

import (
	"strconv"
	"strings"
)

// Newest is the newest known version.
const Newest = "1.1.0"

// List returns the known versions, oldest first.
func List() []string {
	return []string{"0.1.0", "0.2.0", "0.3.0", "0.3.1", "0.4.0", "1.0.0", Newest}
}

// A Number is a parsed version number. It's ordered as an array.
type Number [3]int

// Less reports whether a version is older than another.
func (v Number) Less(w Number) bool {
	for i := range v {
		if v[i] != w[i] {
			return v[i] < w[i]
		}
	}
	return false
}

// Parse reads one to three numbers. A missing one is 0, and an empty string is 0.1.0.
func Parse(s string) (v Number, ok bool) {
	if s == "" {
		return Number{0, 1, 0}, true
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

// Problem says why a text isn't a version, as libcni does.
func Problem(s string) string {
	parts := strings.Split(s, ".")
	if len(parts) > len(Number{}) {
		return "invalid version " + strconv.Quote(s) + ": too many parts"
	}
	for i, p := range parts {
		if _, err := strconv.Atoi(p); err != nil {
			return "failed to convert " + [...]string{"major", "minor", "micro"}[i] + " version part " + strconv.Quote(p) + ": " + err.Error()
		}
	}
	return "invalid version " + strconv.Quote(s)
}

// A Form is the layout of a result, shared by several versions.
type Form int

const (
	Legacy  Form = iota // 0.1.0, 0.2.0: ip4, ip6
	Middle              // 0.3.0 to 0.4.0: ips with a version each
	Current             // 1.0.0 and later: keys in alphabetical order
)

// Form is the layout of the version's results.
func (v Number) Form() Form {
	switch {
	case v.Less(Number{0, 3, 0}):
		return Legacy
	case v.Less(Number{1, 0, 0}):
		return Middle
	}
	return Current
}
