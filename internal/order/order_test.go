// SPDX-License-Identifier: Apache-2.0

package order_test

import (
	"cmp"
	"slices"
	"testing"

	"github.com/swiftcni/swiftcni/internal/order"
)

func TestBy(t *testing.T) {
	type pair struct{ key, nth int }
	var ps []pair
	for i := range 500 {
		ps = append(ps, pair{i * 7919 % 13, i})
	}
	want := slices.Clone(ps)
	byKey := func(a, b pair) int { return cmp.Compare(a.key, b.key) }
	slices.SortStableFunc(want, byKey)
	order.By(ps, byKey)
	if !slices.Equal(ps, want) {
		t.Errorf("By() = %v, want %v", ps, want)
	}
	order.By[pair](nil, byKey)
}
