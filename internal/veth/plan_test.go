// SPDX-License-Identifier: Apache-2.0

package veth

import (
	"flag"
	"net/netip"
	"os"
	"path/filepath"
	"testing"

	"github.com/swiftcni/swiftcni/cni/spec"
	"golang.org/x/tools/txtar"
)

var update = flag.Bool("update", false, "rewrite golden files")

// Each file holds a configuration and the plan of attaching c1 as eth0, with the addresses that a
// fresh host-local would give.
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
	n, err := read(conf)
	if err != nil {
		t.Fatal(err)
	}
	a := spec.Attachment{ContainerID: "c1", IfName: "eth0", NetNS: "/run/netns/c1"}
	k := keysOf(ReadBridge(n))
	if n.Type == "ptp" {
		k = keysOf(ReadPtP(n))
	}
	mac, err := k.checkAdd(a)
	if err != nil {
		t.Fatal(err)
	}
	addrs := &spec.Result{Routes: n.IPAM.Routes}
	for _, set := range n.IPAM.Sets {
		addrs.IPs = append(addrs.IPs, spec.IP{
			Address: netip.PrefixFrom(set[0].Start.Next(), set[0].Subnet.Bits()), Gateway: set[0].Gateway, Interface: spec.NoInterface})
	}
	return newPlan(premise{keys: k, side: k.side(), attach: a, names: k.namesOf(a, 0), mac: mac, mtu: n.Link.MTU, seed: "seed"}, addrs).text()
}
