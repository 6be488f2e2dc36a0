// SPDX-License-Identifier: Apache-2.0

package main

import "fmt"

// delegatedCases are networks whose IPAM plugin is a program of its own, by what it answers: in the
// manner of dhcp, whereabouts, spiderpool and others.
func delegatedCases() (list []parityCase) {
	for _, c := range []struct{ name, keys, answer string }{
		{"address alone", ``, `"ips":[{"address":"10.1.2.9/24"}]`},
		{"address alone, gateway", `,"isGateway":true`, `"ips":[{"address":"10.1.2.9/24"}]`},
		{"address alone, default gateway", `,"isDefaultGateway":true`, `"ips":[{"address":"10.1.2.9/24"}]`},
		{"router", ``, `"ips":[{"address":"10.1.2.9/24","gateway":"10.1.2.254"}],"routes":[{"dst":"0.0.0.0/0","gw":"10.1.2.254"}]`},
		// The bridge takes the router's address, so isGateway isn't for a network that has a
		// router.
		{"router, gateway", `,"isGateway":true`, `"ips":[{"address":"10.1.2.9/24","gateway":"10.1.2.254"}],"routes":[{"dst":"0.0.0.0/0","gw":"10.1.2.254"}]`},
		{"router, default gateway", `,"isDefaultGateway":true`,
			`"ips":[{"address":"10.1.2.9/24","gateway":"10.1.2.254"}],"routes":[{"dst":"0.0.0.0/0","gw":"10.1.2.254","priority":50}]`},
		{"route on the link", ``, `"ips":[{"address":"10.1.2.9/24"}],"routes":[{"dst":"10.9.0.0/16","gw":"0.0.0.0","scope":253},{"dst":"0.0.0.0/0","gw":"10.1.2.1"}]`},
		{"route on the link beside a gateway", ``, `"ips":[{"address":"10.1.2.9/24","gateway":"10.1.2.1"}],"routes":[{"dst":"10.9.0.0/16","gw":"0.0.0.0"}]`},
		{"routes of all kinds", ``, `"ips":[{"address":"10.1.2.9/24","gateway":"10.1.2.1"}],"routes":[{"dst":"10.8.0.0/16","priority":9},
			{"dst":"10.9.0.0/16","table":77},{"dst":"10.9.0.0/16","gw":"10.1.2.3","priority":5}]`},
		{"no gateway is 0.0.0.0", ``, `"ips":[{"address":"10.1.2.9/24","gateway":"0.0.0.0"}],"routes":[{"dst":"10.9.0.0/16"}]`},
		{"one gateway for two families", ``, `"ips":[{"address":"10.1.2.9/24","gateway":"10.1.2.1"},{"address":"fd00::9/64","gateway":"10.1.2.1"}],
			"routes":[{"dst":"0.0.0.0/0"}]`},
		// whereabouts v0.9.4, cmd/whereabouts.go, cmdAdd: the range's gateway, and its routes.
		{"whereabouts", `,"isGateway":true`, `"ips":[{"address":"10.1.2.9/24","gateway":"10.1.2.1"}],"routes":[{"dst":"0.0.0.0/0"}],"dns":{}`},
		{"whereabouts, two ranges", ``, `"cniVersion":"0.3.1","ips":[{"version":"4","address":"10.1.2.9/24"},{"version":"6","address":"fd00::9/64"}],"dns":{}`},
		// spiderpool v1.2.2, cmd/spiderpool/cmd/command_add.go, assembleResult: those of the NIC.
		{"spiderpool", ``, `"ips":[{"address":"10.1.2.9/24","gateway":"10.1.2.1"},{"address":"fd00::9/64","gateway":"fd00::1"}],
			"routes":[{"dst":"10.9.0.0/16","gw":"10.1.2.7"},{"dst":"0.0.0.0/0","gw":"10.1.2.1"}],"dns":{"nameservers":["10.96.0.10"],"search":["svc.cluster.local"],"options":["ndots:5"]}`},
		{"interfaces", `,"isGateway":true`, `"interfaces":[{"name":"eth0","mac":"02:11:22:00:00:01"},{"name":"eth0"}],
			"ips":[{"interface":0,"address":"10.1.2.9/24","gateway":"10.1.2.1"},{"interface":1,"address":"fd00::9/64","gateway":"fd00::1"}]`},
		{"an interface that isn't there", ``, `"ips":[{"interface":7,"address":"10.1.2.9/24"}]`},
		{"an older result", `,"isGateway":true`, `"cniVersion":"0.3.1","ips":[{"version":"4","address":"10.1.2.9/24","gateway":"10.1.2.1"}],"dns":{}`},
		{"the oldest result", ``, `"cniVersion":"0.2.0","ip4":{"ip":"10.1.2.9/24","gateway":"10.1.2.1","routes":[{"dst":"0.0.0.0/0"}]},"ip6":{"ip":"fd00::9/64"}`},
		{"dns", ``, `"ips":[{"address":"10.1.2.9/24"}],"dns":{"nameservers":["10.1.2.1"],"search":["a"]}`},
		{"dns of the network", `,"dns":{"nameservers":["10.0.0.1"]}`, `"ips":[{"address":"10.1.2.9/24"}],"dns":{"nameservers":["10.1.2.1"],"search":["a"]}`},
		{"nulls", ``, `"ips":[{"address":"10.1.2.9/24","gateway":null,"interface":null}],"routes":null,"interfaces":null,"dns":{"nameservers":null}`},
		{"no address", ``, `"ips":[]`},
		{"two gateways of a bridge", `,"isGateway":true`, `"ips":[{"address":"10.1.2.9/24"},{"address":"10.1.3.9/24"}]`},
		{"detection, mtu, hairpin", `,"enabledad":true,"mtu":1400,"hairpinMode":true`, `"ips":[{"address":"fd00::9/64","gateway":"fd00::1"}],"routes":[{"dst":"::/0"}]`},
	} {
		list = append(list, parityCase{name: "delegated " + c.name,
			conf: fmt.Sprintf(base, c.keys+`,"ipam":{"type":"fake-ipam","answer":{`+c.answer+`}}`)})
	}
	return list
}
