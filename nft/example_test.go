// SPDX-License-Identifier: Apache-2.0

package nft_test

import (
	"errors"
	"fmt"
	"log"
	"net"
	"net/netip"

	"github.com/swiftcni/swiftcni/nft"
)

func Example() {
	c, err := nft.Dial()
	if err != nil {
		log.Fatal(err)
	}
	defer c.Close()

	a := nft.Sender{
		Owner:      nft.Owner{Network: "mynet", ContainerID: "c1", IfName: "eth0"},
		Masquerade: []netip.Prefix{netip.MustParsePrefix("10.1.0.2/24")},
	}
	if err := c.Attach(a); err != nil {
		log.Fatal(err)
	}
	for a, err := range c.Senders("mynet") {
		fmt.Println(a.Owner, a.Masquerade, err)
	}
	if err := c.Detach(a); err != nil {
		log.Fatal(err)
	}
	fmt.Println(c.CheckSender(a))
	// Output:
	// mynet/c1/eth0 [10.1.0.2/24] <nil>
	// nft: mynet/c1/eth0: element inet swiftcni masq4 10.1.0.2 is missing
}

func ExampleRuleset() {
	fmt.Print(nft.Ruleset{Subnets: []netip.Prefix{netip.MustParsePrefix("10.1.0.0/24")}})
	// Output:
	// table inet swiftcni {
	// 	set masq4 {
	// 		type ipv4_addr
	// 	}
	//
	// 	set own4-24 {
	// 		type ipv4_addr . ipv4_addr
	// 	}
	//
	// 	chain postrouting {
	// 		type nat hook postrouting priority srcnat; policy accept;
	// 		ip saddr . ip daddr & 255.255.255.0 @own4-24 return
	// 		ip saddr @masq4 ip daddr != 224.0.0.0/4 masquerade
	// 	}
	// }
}

func ExampleSender() {
	fmt.Print(nft.Sender{
		Owner:      nft.Owner{Network: "mynet", ContainerID: "c1", IfName: "eth0"},
		Masquerade: []netip.Prefix{netip.MustParsePrefix("10.1.0.2/24"), netip.MustParsePrefix("fd00:1::2/64")},
		Guard:      &nft.Guard{HostLink: "swc1", MAC: net.HardwareAddr{2, 0, 0, 0, 0, 1}},
	})
	// Output:
	// add element inet swiftcni masq4 { 10.1.0.2 comment "mynet/c1/eth0 /24" }
	// add element inet swiftcni masq6 { fd00:1::2 comment "mynet/c1/eth0 /64" }
	// add element bridge swiftcni guarded { "swc1" comment "mynet/c1/eth0 02:00:00:00:00:01" }
	// add element inet swiftcni own4-24 { 10.1.0.2 . 10.1.0.0 comment "mynet/c1/eth0" }
	// add element inet swiftcni own6-64 { fd00:1::2 . fd00:1:: comment "mynet/c1/eth0" }
	// add element bridge swiftcni allowed { "swc1" . 02:00:00:00:00:01 comment "mynet/c1/eth0" }
}

// A port of the host leads to a container. A second container can't have it.
func ExampleConn_Publish() {
	c, err := nft.Dial()
	if err != nil {
		log.Fatal(err)
	}
	defer c.Close()

	web := nft.PortMapping{Protocol: nft.TCP, HostPort: 8080, ContainerPort: 80}
	p := nft.Publication{
		Owner: nft.Owner{Network: "mynet", ContainerID: "c1", IfName: "eth0"},
		Addrs: []netip.Prefix{netip.MustParsePrefix("10.1.0.2/24")},
		Ports: []nft.PortMapping{web},
	}
	if _, err := c.Publish(p); err != nil {
		log.Fatal(err)
	}
	_, err = c.Publish(nft.Publication{
		Owner: nft.Owner{Network: "mynet", ContainerID: "c2", IfName: "eth0"},
		Addrs: []netip.Prefix{netip.MustParsePrefix("10.1.0.3/24")},
		Ports: []nft.PortMapping{web},
	})
	var taken *nft.PortTakenError
	if errors.As(err, &taken) {
		fmt.Println(taken.Mapping.HostText(), "is taken by", taken.Holder)
	}
	removed, err := c.Unpublish(p)
	for _, r := range removed {
		fmt.Println("removed", r.Mapping, "to", r.Target, err)
	}
	// Output:
	// tcp port 8080 is taken by mynet/c1/eth0
	// removed tcp port 8080 -> 80 to 10.1.0.2:80 <nil>
}
