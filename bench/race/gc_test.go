// SPDX-License-Identifier: Apache-2.0

package main

import (
	"strings"
	"testing"
)

// TestGCIsOnePass holds what a GC may cost to what a DEL for each attachment does. Counts decide,
// and times are only printed, since they're the machine's as well.
func TestGCIsOnePass(t *testing.T) {
	p := plan(t, 1, 1)
	p.Costs = 200
	for _, c := range carry(t, p).Costs {
		var text strings.Builder
		c.write(&text)
		t.Log(strings.TrimSpace(text.String()))
		// For each: read the record and the lease, which is to open, read and close, ask for its
		// link by index and by name, and remove both.
		if most := 8*c.Attachments + 400; c.GCCalls > most {
			t.Errorf("%d system calls, %d at most", c.GCCalls, most)
		}
		// The rest is a list of each set, and of the links of each namespace that is known here. A long
		// list is made until one has nothing new.
		if most := 35 + c.Attachments/8; c.GCSends > most {
			t.Errorf("%d sends, %d at most", c.GCSends, most)
		}
		if c.GCCalls*10 > c.DELCalls || c.GCSends*10 > c.DELSends {
			t.Errorf("more than a tenth of %d DELs", c.Attachments)
		}
	}
}
