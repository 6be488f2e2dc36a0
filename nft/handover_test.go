// SPDX-License-Identifier: Apache-2.0

package nft

import (
	"testing"

	"github.com/swiftcni/swiftcni/internal/test/nstest"
)

// A port for which another attachment of the container begins to wait while GC is at work goes to that
// one.
func TestGCHandsOverWhatIsAwaitedMeanwhile(t *testing.T) {
	ns := nstest.New(t, "host")
	c, other := dial(t, ns), dial(t, ns)
	holder, waits := publication("c1", "10.1.0.2/24", 8080), publication("c1", "10.2.0.2/24", 8080)
	holder.Owner.Network, waits.Owner.Network = "a", "b"
	publish(t, c, holder)
	asked := false
	c.Spare(func(Owner) bool {
		if !asked {
			asked = true
			waiting, err := other.Publish(waits)
			must(t, err)
			if len(waiting) != 1 {
				t.Errorf("%v waits", waiting)
			}
		}
		return false
	})
	_, err := c.UnpublishExcept("a", nil)
	must(t, err)
	if !asked {
		t.Error("nobody was asked")
	}
	must(t, other.CheckPublication(waits))
	for p, err := range other.Published("") {
		must(t, err)
		if p.Owner != waits.Owner.Short() || p.Waiting {
			t.Errorf("left: %+v", p)
		}
	}
}
