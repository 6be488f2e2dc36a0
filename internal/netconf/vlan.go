// SPDX-License-Identifier: Apache-2.0

package netconf

import (
	"cmp"
	"strconv"

	"github.com/swiftcni/swiftcni/internal/fault"
	"github.com/swiftcni/swiftcni/internal/jsontext"
	"github.com/swiftcni/swiftcni/internal/order"
)

// MaxVLAN is the last VLAN ID (IEEE 802.1Q).
const MaxVLAN = 4094

// VLANs are the IDs from First to Last.
type VLANs struct{ First, Last int }

// mergeVLANs returns the same IDs in order, without duplicates, in the fewest ranges.
func mergeVLANs(ranges []VLANs) []VLANs {
	order.By(ranges, func(a, b VLANs) int { return cmp.Compare(a.First, b.First) })
	var merged []VLANs
	for _, r := range ranges {
		if last := len(merged) - 1; last >= 0 && r.First <= merged[last].Last+1 {
			merged[last].Last = max(merged[last].Last, r.Last)
			continue
		}
		merged = append(merged, r)
	}
	return merged
}

func (b *Bridge) readVLAN(r *jsontext.Reader) error {
	if err := r.Integer(&b.VLAN); err != nil {
		return err
	}
	if b.VLAN < 0 || b.VLAN > MaxVLAN {
		fault.Note(r, fault.Key("vlan", "invalid VLAN ID "+strconv.Itoa(b.VLAN)+" (must be between 0 and 4094)"))
		b.VLAN = 0
	}
	return nil
}

// readTrunk reads items of {id}, {minID, maxID} or both, and says what is wrong in the reference's
// words.
func (b *Bridge) readTrunk(r *jsontext.Reader) error {
	b.Trunk = nil
	present, err := r.List(func() error {
		var id, low, high = -1, -1, -1
		err := r.Object(func(key string) error {
			switch key {
			case "id":
				return r.Integer(&id)
			case "minid":
				return r.Integer(&low)
			case "maxid":
				return r.Integer(&high)
			}
			return nil
		})
		if problem := trunkProblem(id, low, high); problem != "" {
			r.Wrong(problem, "")
			return err
		}
		if id > 0 {
			b.Trunk = append(b.Trunk, VLANs{id, id})
		}
		if low > 0 {
			b.Trunk = append(b.Trunk, VLANs{low, high})
		}
		return err
	})
	b.HasTrunk = present
	b.Trunk = mergeVLANs(b.Trunk)
	return err
}

// trunkProblem checks an item; -1 is a key that isn't there.
func trunkProblem(id, low, high int) string {
	bad := func(v int) bool { return v != -1 && (v < 1 || v > MaxVLAN) }
	switch {
	case low == -1 && high != -1:
		return "minID and maxID should be configured simultaneously, minID is missing"
	case low != -1 && high == -1:
		return "minID and maxID should be configured simultaneously, maxID is missing"
	case bad(low):
		return "incorrect trunk minID parameter"
	case bad(high):
		return "incorrect trunk maxID parameter"
	case low > high:
		return "minID is greater than maxID in trunk parameter"
	case bad(id):
		return "incorrect trunk id parameter"
	}
	return ""
}
