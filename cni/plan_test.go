// SPDX-License-Identifier: Apache-2.0

package cni

import (
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"testing"

	"github.com/swiftcni/swiftcni/internal/names"
	"golang.org/x/tools/txtar"
)

// Each file holds a configuration and the plan of attaching c1 as eth0, with the addresses that a fresh
// host-local would give.
func TestPlans(t *testing.T) {
	files, err := filepath.Glob("testdata/plan/*.txtar")
	if err != nil || len(files) == 0 {
		t.Fatal("no plans:", err)
	}
	for _, file := range files {
		t.Run(filepath.Base(file), func(t *testing.T) {
			ar, err := txtar.ParseFile(file)
			if err != nil {
				t.Fatal(err)
			}
			got := planOf(t, ar.Files[0].Data)
			if *update {
				ar.Files = append(ar.Files[:1], txtar.File{Name: "plan", Data: []byte(got)})
				if err := os.WriteFile(file, txtar.Format(ar), 0o644); err != nil {
					t.Fatal(err)
				}
			}
			if len(ar.Files) != 2 || string(ar.Files[1].Data) != got {
				t.Errorf("plan changed (-update rewrites it):\n%s", got)
			}
		})
	}
}

func planOf(t *testing.T, conf []byte) string {
	t.Helper()
	n, err := Parse(conf)
	if err != nil {
		t.Fatal(err)
	}
	a := Attachment{ContainerID: "c1", IfName: "eth0", NetNS: "/run/netns/c1"}
	ptp := n.plugin == "ptp"
	var mac net.HardwareAddr
	if ptp {
		n, err = n.pointToPoint()
	} else {
		mac, err = n.checkAttach(a)
	}
	if err != nil {
		t.Fatal(err)
	}
	addrs := &Result{Routes: n.ipam.routes}
	for _, set := range n.ipam.sets {
		addrs.IPs = append(addrs.IPs, IP{
			Address: netip.PrefixFrom(set[0].Start.Next(), set[0].Subnet.Bits()), Gateway: set[0].Gateway, Interface: NoInterface})
	}
	p := newPlan(n, a, names.Of(n.name, a.ContainerID, a.IfName, 0), addrs, mac, "seed")
	if ptp {
		p.pointToPoint()
	}
	return p.String()
}
