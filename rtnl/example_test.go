// SPDX-License-Identifier: Apache-2.0

package rtnl_test

import (
	"errors"
	"fmt"
	"io/fs"
	"net/netip"

	"github.com/swiftcni/swiftcni/rtnl"
)

// A bridge with one veth, in the namespace of the calling thread, and gone again.
func Example() {
	conn, err := rtnl.Dial(nil)
	if err != nil {
		fmt.Println(err)
		return
	}
	defer conn.Close()

	var b rtnl.Batch
	b.Create(rtnl.Bridge{Link: rtnl.Link{Index: 1000, Name: "exbr0", State: rtnl.Up}})
	b.Create(rtnl.Veth{
		Link: rtnl.Link{Index: 1001, Name: "exhost", Master: 1000, State: rtnl.Up},
		Peer: rtnl.Link{Index: 1002, Name: "exeth0"},
	})
	b.Set(rtnl.Port{Link: 1001, Isolated: rtnl.On})
	b.Set(rtnl.Link{Name: "exeth0", State: rtnl.Up})
	b.Create(rtnl.Addr{Link: 1002, Prefix: netip.MustParsePrefix("172.19.1.2/24")})
	b.Create(rtnl.DefaultRoute(netip.MustParseAddr("172.19.1.1")))
	b.Delete(rtnl.Link{Index: 1001})
	b.Delete(rtnl.Link{Name: "exbr0"})
	fmt.Print(b.String())
	fmt.Println(conn.Do(&b))
	// Output:
	// create bridge exbr0 index 1000 up
	// create veth exhost index 1001 master exbr0 up peer exeth0 index 1002
	// set port exhost isolated on
	// set link exeth0 up
	// create address 172.19.1.2/24 dev exeth0
	// create route default via 172.19.1.1
	// delete link exhost
	// delete link exbr0
	// <nil>
}

// A macvlan on a bridge, which a container gets if its NetNS is set.
func ExampleMacvlan() {
	conn, err := rtnl.Dial(nil)
	if err != nil {
		fmt.Println(err)
		return
	}
	defer conn.Close()

	var b rtnl.Batch
	b.Create(rtnl.Bridge{Link: rtnl.Link{Index: 1010, Name: "exbr1"}})
	b.Create(rtnl.Macvlan{Link: rtnl.Link{Name: "exmv0"}, Parent: 1010, Mode: rtnl.MacvlanBridge})
	fmt.Print(b.String())
	fmt.Println(conn.Do(&b))
	m, err := conn.Macvlan("exmv0")
	fmt.Println(m.Mode, m.Parent, err)

	b.Reset()
	b.Delete(rtnl.Link{Index: 1010}) // and the macvlan with it
	fmt.Println(conn.Do(&b))
	// Output:
	// create bridge exbr1 index 1010
	// create macvlan exmv0 link exbr1 mode bridge
	// <nil>
	// bridge 1010 <nil>
	// <nil>
}

// A VLAN, an IPVLAN and a VRF, as a batch prints them.
func ExampleBatch_String() {
	var b rtnl.Batch
	b.Create(rtnl.VLAN{Link: rtnl.Link{Name: "eth0.100"}, Parent: 2, ID: 100})
	b.Create(rtnl.IPVLAN{Link: rtnl.Link{Name: "ipvl0"}, Parent: 2, Mode: rtnl.IPVLANL3S})
	b.Create(rtnl.VRF{Link: rtnl.Link{Index: 7, Name: "red", State: rtnl.Up}, Table: 1000})
	b.Set(rtnl.Link{Name: "ipvl0", Master: 7})
	fmt.Print(b.String())
	// Output:
	// create vlan eth0.100 link 2 id 100
	// create ipvlan ipvl0 link 2 mode l3s
	// create vrf red index 7 up table 1000
	// set link ipvl0 master red
}

// Removing what's gone already isn't an error to somebody who wants it gone.
func ExampleError() {
	conn, err := rtnl.Dial(nil)
	if err != nil {
		fmt.Println(err)
		return
	}
	defer conn.Close()

	var b rtnl.Batch
	b.Delete(rtnl.Link{Name: "gone"})
	err = conn.Do(&b)
	fmt.Println(err)
	fmt.Println(errors.Is(err, fs.ErrNotExist))
	// Output:
	// delete link gone: no such device
	// true
}

// Every refusal of a batch names its change and step; the other changes were made.
func ExampleRefused() {
	conn, err := rtnl.Dial(nil)
	if err != nil {
		fmt.Println(err)
		return
	}
	defer conn.Close()

	var b rtnl.Batch
	b.Delete(rtnl.Link{Name: "gone"})
	b.Set(rtnl.Link{Name: "lo", State: rtnl.Up})
	b.Delete(rtnl.Route{Dst: netip.MustParsePrefix("203.0.113.0/24")})
	var refused rtnl.Refused
	if errors.As(conn.Do(&b), &refused) {
		for _, e := range refused {
			fmt.Println(e.Step, e)
		}
	}
	flags, err := conn.Flags("lo")
	fmt.Println("lo is up:", flags.Up, err)
	// Output:
	// 0 delete link gone: no such device
	// 2 delete route 203.0.113.0/24: no such process
	// lo is up: true <nil>
}

func ExampleNetNS_Do() {
	ns, err := rtnl.OpenNetNS("/proc/self/ns/net")
	if err != nil {
		fmt.Println(err)
		return
	}
	defer ns.Close()
	err = ns.Do(func() error {
		id, err := rtnl.CurrentNetNSID()
		fmt.Println("inside:", id == ns.ID())
		return err
	})
	fmt.Println(err)
	// Output:
	// inside: true
	// <nil>
}
