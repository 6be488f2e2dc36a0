// SPDX-License-Identifier: Apache-2.0

// Package semver judges what a plugin prints as its version, by the expression that semver.org gives.
package semver

import (
	"regexp"
	"slices"
	"strconv"
)

// https://semver.org/#is-there-a-suggested-regular-expression-regex-to-check-a-semver-string, behind a "v".
var form = regexp.MustCompile(`^v(0|[1-9]\d*)\.(0|[1-9]\d*)\.(0|[1-9]\d*)` +
	`(?:-((?:0|[1-9]\d*|\d*[a-zA-Z-][0-9a-zA-Z-]*)(?:\.(?:0|[1-9]\d*|\d*[a-zA-Z-][0-9a-zA-Z-]*))*))?` +
	`(?:\+([0-9a-zA-Z-]+(?:\.[0-9a-zA-Z-]+)*))?$`)

// Valid says whether v is "v" and a semantic version.
func Valid(v string) bool { return form.MatchString(v) }

// Build returns what v has behind "+", or "".
func Build(v string) string {
	if m := form.FindStringSubmatch(v); m != nil {
		return m[5]
	}
	return ""
}

// AtLeast says whether v is valid, no pre-release, and not before major.minor.patch.
func AtLeast(v string, major, minor, patch int) bool {
	m := form.FindStringSubmatch(v)
	if m == nil || m[4] != "" {
		return false
	}
	var number [3]int
	for i := range number {
		n, err := strconv.Atoi(m[i+1])
		if err != nil {
			return false
		}
		number[i] = n
	}
	return slices.Compare(number[:], []int{major, minor, patch}) >= 0
}
