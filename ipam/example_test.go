// SPDX-License-Identifier: Apache-2.0

package ipam_test

import (
	"context"
	"fmt"
	"log"
	"net/netip"
	"os"
	"time"

	"github.com/swiftcni/swiftcni/ipam"
)

func Example() {
	dir, err := os.MkdirTemp("", "leases")
	if err != nil {
		log.Fatal(err)
	}
	defer os.RemoveAll(dir)
	sets, err := ipam.CanonicalSets([]ipam.RangeSet{{{Subnet: netip.MustParsePrefix("10.1.0.0/24")}}})
	if err != nil {
		log.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second) // bounds the wait for the lock
	defer cancel()
	store, err := ipam.Open(ctx, dir, "mynet")
	if err != nil {
		log.Fatal(err)
	}
	defer store.Close()

	owner := ipam.Owner{ContainerID: "c1", IfName: "eth0"}
	leases, err := store.Reserve(ipam.Request{Owner: owner, Sets: sets})
	if err != nil {
		log.Fatal(err)
	}
	for _, l := range leases {
		fmt.Println(l.Owner, "holds", l.Prefix, "behind", l.Gateway)
	}
	if err := store.Release(owner); err != nil {
		log.Fatal(err)
	}
	// Output: c1/eth0 holds 10.1.0.2/24 behind 10.1.0.1
}
