// SPDX-License-Identifier: Apache-2.0

package rtnl

import (
	"bytes"
	"fmt"
	"net/netip"
	"testing"

	"golang.org/x/sys/unix"
)

// TestAnswersDecode asks a real kernel for all that the decoders read. Each answer decodes whole,
// and cut anywhere it's refused or reads as less, without a panic. With -update the answers become
// the seeds of the fuzz targets.
func TestAnswersDecode(t *testing.T) {
	host, container := goldenWorld(t)
	var b Batch
	for _, g := range goldens(t) {
		if g.name == "route" || g.name == "port" {
			g.fill(&b, container.ns)
		}
	}
	b.Create(Neigh{Link: 20, MAC: mac(t, "02:00:00:00:00:07")})
	b.Create(Neigh{Link: 10, Addr: netip.MustParseAddr("10.1.0.2"), MAC: mac(t, "02:00:00:00:00:07")})
	b.Create(TBF{Link: 20, Rate: 5 << 30, Buffer: BufferStep, Limit: 1})
	b.Create(Rule{Src: netip.MustParsePrefix("fd01::7/128"), Table: 1000, Protocol: 77})
	if err := host.Do(&b); err != nil {
		t.Fatal(err)
	}
	if err := host.setStrict(); err != nil {
		t.Fatal(err)
	}
	for _, test := range []struct {
		target string
		typ    uint16
		header []byte
		decode func([]byte) error
	}{
		{"FuzzLink", unix.RTM_GETLINK, make([]byte, unix.SizeofIfInfomsg), func(b []byte) error { _, err := decodeLink(b); return err }},
		{"FuzzAddr", unix.RTM_GETADDR, make([]byte, unix.SizeofIfAddrmsg), func(b []byte) error { _, err := decodeAddr(b); return err }},
		{"FuzzRoute", unix.RTM_GETROUTE, make([]byte, unix.SizeofRtMsg), func(b []byte) error {
			r, hops, err := decodeRoute(b)
			r.nextHops(hops, func(Route) bool { return true })
			return err
		}},
		{"FuzzNeigh", unix.RTM_GETNEIGH, append([]byte{unix.AF_BRIDGE}, make([]byte, unix.SizeofNdMsg-1)...), func(b []byte) error { _, err := decodeNeigh(b); return err }},
		{"FuzzNeigh", unix.RTM_GETNEIGH, make([]byte, unix.SizeofNdMsg), func(b []byte) error { _, err := decodeNeigh(b); return err }},
		{"FuzzTBF", unix.RTM_GETQDISC, make([]byte, sizeofTCMsg), func(b []byte) error {
			m, err := decodeTC(b)
			if err == nil {
				_, err = tbfOf(tcMessage{options: m.options})
			}
			return err
		}},
		{"FuzzRule", unix.RTM_GETRULE, make([]byte, sizeofRule), func(b []byte) error { _, err := decodeRule(b); return err }},
	} {
		host.beginDump(test.typ)
		host.enc.fixed(test.header...)
		var answers [][]byte
		err := host.ask("list", func(data []byte) error {
			answers = append(answers, bytes.Clone(data))
			return test.decode(data)
		})
		if err != nil || len(answers) == 0 {
			t.Errorf("%s: %d answers: %v", test.target, len(answers), err)
		}
		for i, a := range answers {
			for n := range a {
				_ = test.decode(a[:n:n])
			}
			if *update && i < 6 {
				seed(t, test.target, fmt.Sprintf("%d-%02d", test.header[0], i), a)
			}
		}
	}
}
