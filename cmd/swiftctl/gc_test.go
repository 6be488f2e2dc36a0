// SPDX-License-Identifier: Apache-2.0

package main

import (
	"net/netip"
	"os"
	"path/filepath"
	"testing"

	"github.com/swiftcni/swiftcni/ipam"
)

// A network whose records prove nothing is left alone, also where an owner has a record by a hash of
// its name. The record of one without a lease is reason to look.
func TestEvidence(t *testing.T) {
	for name, owner := range map[string]ipam.Owner{"plain": {ContainerID: "c1", IfName: "eth0"}, "hashed": {ContainerID: "c1", IfName: "ethä \"0\""}} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			store, err := ipam.Open(t.Context(), dir, "net")
			if err != nil {
				t.Fatal(err)
			}
			sets, err := ipam.CanonicalSets([]ipam.RangeSet{{{Subnet: netip.MustParsePrefix("10.1.0.0/24")}}})
			if err != nil {
				t.Fatal(err)
			}
			leases, err := store.Reserve(ipam.Request{Owner: owner, Sets: sets})
			if err != nil {
				t.Fatal(err)
			}
			if err := store.Close(); err != nil {
				t.Fatal(err)
			}
			if found, err := hasEvidence(t.Context(), dir, "net"); err != nil || found {
				t.Errorf("found %v, %v", found, err)
			}
			if err := os.Remove(filepath.Join(dir, "net", leases[0].Prefix.Addr().String())); err != nil {
				t.Fatal(err)
			}
			if found, err := hasEvidence(t.Context(), dir, "net"); err != nil || !found {
				t.Errorf("without the lease: found %v, %v", found, err)
			}
		})
	}
}
