// SPDX-License-Identifier: Apache-2.0

package inprocess

import "testing"

func TestLastValueCounts(t *testing.T) {
	e := environment{"CNI_PATH=/a", "CNI_PATHS=/b", "CNI_PATH=/c=d", "odd"}
	for name, want := range map[string]string{"CNI_PATH": "/c=d", "CNI_PATHS": "/b", "CNI": "", "odd": "", "no": ""} {
		if got := e.get(name); got != want {
			t.Errorf("%s is %q, want %q", name, got, want)
		}
	}
}
