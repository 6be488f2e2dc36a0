// SPDX-License-Identifier: Apache-2.0

package netconf

import (
	"testing"
)

func TestMergeVLANs(t *testing.T) {
	got := mergeVLANs([]VLANs{{7, 9}, {1, 1}, {8, 12}, {13, 13}, {2, 2}, {20, 21}, {20, 20}})
	want := []VLANs{{1, 2}, {7, 13}, {20, 21}}
	if len(got) != len(want) || got[0] != want[0] || got[1] != want[1] || got[2] != want[2] {
		t.Error(got)
	}
}
