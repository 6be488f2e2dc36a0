// SPDX-License-Identifier: Apache-2.0

package ipam_test

import (
	"context"
	"errors"
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
	// The context bounds the wait for the lock.
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
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

// The defaults of a range leave out the network's and the broadcast address, and the gateway.
func ExampleRange_Canonical() {
	r, err := ipam.Range{Subnet: netip.MustParsePrefix("10.1.0.0/24")}.Canonical()
	fmt.Println(r, "gateway", r.Gateway, err)
	_, err = ipam.Range{Subnet: netip.MustParsePrefix("10.1.0.0/24"), Start: netip.MustParseAddr("10.2.0.1")}.Canonical()
	fmt.Println(err)
	// Output:
	// 10.1.0.1-10.1.0.254 gateway 10.1.0.1 <nil>
	// RangeStart 10.2.0.1 not in network 10.1.0.0/24
}

// A full range is an error that says how many leases it has.
func ExampleExhaustedError() {
	dir, err := os.MkdirTemp("", "leases")
	if err != nil {
		log.Fatal(err)
	}
	defer os.RemoveAll(dir)
	sets, err := ipam.CanonicalSets([]ipam.RangeSet{{{Subnet: netip.MustParsePrefix("10.1.0.0/30")}}})
	if err != nil {
		log.Fatal(err)
	}
	store, err := ipam.Open(context.Background(), dir, "mynet")
	if err != nil {
		log.Fatal(err)
	}
	defer store.Close()
	for _, id := range []string{"c1", "c2"} {
		_, err = store.Reserve(ipam.Request{Owner: ipam.Owner{ContainerID: id, IfName: "eth0"}, Sets: sets})
	}
	var full *ipam.ExhaustedError
	if errors.As(err, &full) {
		fmt.Println("set", full.Set, "has", full.Leases, "lease")
	}
	// Output: set 0 has 1 lease
}
