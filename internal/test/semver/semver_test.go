// SPDX-License-Identifier: Apache-2.0

package semver

import "testing"

func TestForms(t *testing.T) {
	for v, want := range map[string]struct {
		valid, atLeast bool
		build          string
	}{
		"v1.10.0+swiftcni.0.1.0-3-g5160d4d": {true, true, "swiftcni.0.1.0-3-g5160d4d"},
		"v1.7.1":                            {true, true, ""},
		"v1.7.0+x":                          {true, false, "x"},
		"v2.0.0-rc.1":                       {true, false, ""},
		"1.10.0":                            {},
		"v1.10":                             {},
		"v01.10.0":                          {},
		"v1.10.0+":                          {},
		"v1.10.0+a..b":                      {},
		"v1.10.0+ä":                         {},
		"v1.10.0 ":                          {},
		"v1.10.0\n":                         {},
	} {
		if Valid(v) != want.valid || AtLeast(v, 1, 7, 1) != want.atLeast || Build(v) != want.build {
			t.Errorf("%q: valid %t, at least v1.7.1 %t, build %q", v, Valid(v), AtLeast(v, 1, 7, 1), Build(v))
		}
	}
}
