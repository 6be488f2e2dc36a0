// SPDX-License-Identifier: Apache-2.0

package rtnl

import (
	"strings"
	"testing"

	"github.com/swiftcni/swiftcni/internal/test/nstest"
)

func TestDefaultLink(t *testing.T) {
	s := newSide(t, "host")
	s.must(t, func(b *Batch) {
		for i, name := range []string{"a", "b", "c"} {
			b.Create(Bridge{Link: Link{Index: 11 + i, Name: name, State: Up}})
		}
	})
	ip := func(line string) { nstest.Run(t, s.ns.Path(), "ip", strings.Fields(line)...) }
	for _, test := range []struct {
		line string
		want int
	}{
		{"address add 10.1.0.1/24 dev a", 0},
		{"address add fd00:1::1/64 dev c nodad", 0},
		{"route add default via 10.1.0.2 table 100", 0},
		{"route add 0.0.0.0/1 via 10.1.0.2", 0},
		{"route add blackhole default metric 9", 0},
		{"-6 route add default dev c metric 2000", 13},
		{"-6 route add default dev b metric 500", 12},
		{"route add default dev b metric 7", 12},
		{"route add default via 10.1.0.2 metric 5", 11},
		{"route add default metric 3 nexthop dev c nexthop via 10.1.0.2", 13},
	} {
		ip(test.line)
		got, err := s.DefaultLink()
		if got != test.want || (err == ErrNoDefaultRoute) != (test.want == 0) || err != nil && err != ErrNoDefaultRoute {
			t.Errorf("after ip %s: link %d, %v, want %d", test.line, got, err, test.want)
		}
	}
}
