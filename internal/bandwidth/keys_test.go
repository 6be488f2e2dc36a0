// SPDX-License-Identifier: Apache-2.0

package bandwidth

import (
	"math"
	"testing"
	"time"

	"github.com/swiftcni/swiftcni/rtnl"
)

// The limit that the kernel gets, at the edges.
func TestBandwidthArithmetic(t *testing.T) {
	for _, tt := range []struct {
		l    limit
		want rtnl.TBF
	}{
		{limit{8000, 8000}, rtnl.TBF{Rate: 1000, Buffer: time.Second, Limit: 1025}},
		{limit{8e9, 8e6}, rtnl.TBF{Rate: 1e9, Buffer: time.Millisecond, Limit: 26e6}},
		{limit{24, 8}, rtnl.TBF{Rate: 3, Buffer: (333333 * time.Microsecond).Truncate(64), Limit: 1}},
		{limit{8e12, 8000}, rtnl.TBF{Rate: 1e12, Burst: 1000, Limit: math.MaxUint32}},                  // less than a microsecond
		{limit{1e6, math.MaxInt32}, rtnl.TBF{Rate: 125000, Burst: 268435455, Limit: 268435455 + 3125}}, // 2147 s, as Kubernetes asks
		{limit{8, 8 * (math.MaxUint32 - 1)}, rtnl.TBF{Rate: 1, Burst: math.MaxUint32 - 1, Limit: math.MaxUint32 - 1}},
	} {
		if problem := tt.l.problem(""); problem != nil {
			t.Error(tt.l, problem)
		}
		if got := tt.l.tbf(0); got != tt.want {
			t.Errorf("%v: got %+v, want %+v", tt.l, got, tt.want)
		}
	}
}
