// SPDX-License-Identifier: Apache-2.0

package main

// badDevices are of macvlan, ipvlan, vlan and dummy. dummy0 is a link of the host.
func badDevices() []badInput {
	const local = `,"ipam":{"type":"host-local","subnet":"10.7.0.0/24"}`
	conf := func(plugin, keys string) string {
		return `{"cniVersion":"1.1.0","name":"dev","type":"` + plugin + `"` + keys + `}`
	}
	own := func(row badInput) badInput {
		row.ownWords = true
		return row
	}
	row := func(plugin, name, keys, msg, key string) badInput {
		return badInput{name: plugin + " " + name, program: plugin, conf: conf(plugin, keys), code: 7, msg: msg, key: key}
	}
	var list []badInput
	for _, plugin := range []string{"macvlan", "ipvlan", "vlan"} {
		list = append(list,
			row(plugin, "master a number", local+`,"master":1`, "expected a string", "master"),
			row(plugin, "linkInContainer a string", local+`,"master":"dummy0","linkInContainer":"yes"`, "expected a boolean", "linkInContainer"),
			row(plugin, "MTU a string", local+`,"master":"dummy0","mtu":"1400"`, "expected a number", "mtu"),
			row(plugin, "MTU a fraction", local+`,"master":"dummy0","mtu":1.5`, "expected a whole number", "mtu"),
			own(row(plugin, "MTU too small for IPv6", `,"master":"dummy0","mtu":1279,"ipam":{"type":"host-local","ranges":[[{"subnet":"fd00:7::/64"}]]}`, "IPv6 needs 1280", "mtu")),
			row(plugin, "dns a string", local+`,"master":"dummy0","dns":"8.8.8.8"`, "expected an object", "dns"),
			row(plugin, "range bad", `,"master":"dummy0","ipam":{"type":"host-local","subnet":"10.7.0.0/32"}`, "too small to allocate from", ""),
			badInput{name: plugin + " no such master", program: plugin, conf: conf(plugin, local+`,"master":"nolink0"`), code: 999, msg: `failed to lookup master "nolink0"`},
			badInput{name: plugin + " no such master in the container", program: plugin, conf: conf(plugin, local+`,"master":"dummy0","linkInContainer":true`), code: 999, msg: `failed to lookup master "dummy0"`},
			badInput{name: plugin + " long master", program: plugin, conf: conf(plugin, local+`,"master":"a-name-of-seventeen"`), code: 999, msg: `failed to lookup master`},
			badInput{name: plugin + " of the host", program: plugin, conf: conf(plugin, local+`,"master":"dummy0"`), env: env{"CNI_NETNS": "/proc/self/ns/net"}, code: 8, msg: "should not be the same"},
			badInput{name: plugin + " of nobody", program: plugin, conf: conf(plugin, local+`,"master":"dummy0"`), env: env{"CNI_NETNS": "/nowhere"}, code: 4, msg: `failed to open netns "/nowhere"`},
			badInput{name: plugin + " without a namespace", program: plugin, conf: conf(plugin, local+`,"master":"dummy0"`), env: env{"CNI_NETNS": ""}, code: 4, msg: "[CNI_NETNS] missing"},
			badInput{name: plugin + " CHECK without result", ownWords: true, verb: "CHECK", program: plugin, conf: conf(plugin, local+`,"master":"dummy0"`), code: 7, msg: "equired prevResult missing"},
			badInput{name: plugin + " STATUS without master", verb: "STATUS", program: plugin, conf: conf(plugin, local+`,"master":"nolink0"`), code: 50, msg: "nolink0"},
			badInput{name: plugin + " unknown argument", program: plugin, conf: conf(plugin, local+`,"master":"dummy0"`), env: env{"CNI_ARGS": "FOO=bar"}, code: 4, msg: "ARGS: unknown args"},
		)
	}
	for _, mtu := range []string{"-1", "65536"} {
		list = append(list, own(row("ipvlan", "MTU "+mtu, local+`,"master":"dummy0","mtu":`+mtu, "expected 0 to 65535", "mtu")))
	}
	for _, mtu := range []string{"-1", "1501", "65536"} {
		for _, plugin := range []string{"macvlan", "vlan"} {
			list = append(list, row(plugin, "MTU "+mtu, local+`,"master":"dummy0","mtu":`+mtu, "invalid MTU "+mtu+", must be [0, master MTU(1500)]", ""))
		}
	}
	return append(list,
		row("macvlan", "no default route", local, "no default route interface found", "master"),
		row("macvlan", "mode unknown", local+`,"master":"dummy0","mode":"brigde"`, `unknown macvlan mode: "brigde"`, "mode"),
		row("macvlan", "mode of ipvlan", local+`,"master":"dummy0","mode":"l2"`, `unknown macvlan mode: "l2"`, "mode"),
		row("macvlan", "mode a number in words", local+`,"master":"dummy0","mode":"4"`, `unknown macvlan mode: "4"`, "mode"),
		row("macvlan", "mode a number", local+`,"master":"dummy0","mode":4`, "expected a string", "mode"),
		row("macvlan", "MAC isn't one", local+`,"master":"dummy0","mac":"zz"`, "invalid args zz for MAC addr", "mac"),
		row("macvlan", "MAC of eight octets", local+`,"master":"dummy0","mac":"02:00:00:00:00:00:00:01"`, "expected six octets", "mac"),
		row("macvlan", "MAC a number", local+`,"master":"dummy0","mac":7`, "expected a string", "mac"),
		row("macvlan", "runtimeConfig a list", local+`,"master":"dummy0","runtimeConfig":[]`, "expected an object", "runtimeConfig"),
		row("macvlan", "MAC of runtimeConfig a number", local+`,"master":"dummy0","runtimeConfig":{"mac":7}`, "expected a string", "runtimeConfig.mac"),
		row("macvlan", "MAC of runtimeConfig", local+`,"master":"dummy0","runtimeConfig":{"mac":"zz"}`, "invalid args zz for MAC addr", "runtimeConfig.mac"),
		badInput{name: "macvlan MAC of CNI_ARGS", program: "macvlan", conf: conf("macvlan", local+`,"master":"dummy0"`), env: env{"CNI_ARGS": "MAC=zz"}, code: 7, msg: "invalid args zz for MAC addr"},
		row("macvlan", "MAC of a group", local+`,"master":"dummy0","mac":"01:00:00:00:00:01"`, "expected the MAC of one link", "mac"),
		row("macvlan", "MAC of zeroes", local+`,"master":"dummy0","mac":"00:00:00:00:00:00"`, "expected the MAC of one link", "mac"),
		row("macvlan", "bcqueuelen negative", local+`,"master":"dummy0","bcqueuelen":-1`, "expected 0 to", "bcqueuelen"),
		row("macvlan", "bcqueuelen a string", local+`,"master":"dummy0","bcqueuelen":"9"`, "expected a number", "bcqueuelen"),
		badInput{name: "macvlan without IPAM at 0.2.0", program: "macvlan", conf: `{"cniVersion":"0.2.0","name":"dev","type":"macvlan","master":"dummy0"}`, code: 7, msg: "cannot convert: no valid IP addresses"},
		row("macvlan", "bcqueuelen of 33 bits", local+`,"master":"dummy0","bcqueuelen":4294967296`, "expected 0 to", "bcqueuelen"),
		row("macvlan", "bcqueuelen a fraction", local+`,"master":"dummy0","bcqueuelen":1.5`, "expected a whole number", "bcqueuelen"),
		row("ipvlan", "mode a number", local+`,"master":"dummy0","mode":2`, "expected a string", "mode"),
		row("ipvlan", "mode unknown", local+`,"master":"dummy0","mode":"bridge"`, `unknown ipvlan mode: "bridge"`, "mode"),
		row("ipvlan", "without IPAM", `,"master":"dummy0"`, "no plugin name provided", "ipam.type"),
		row("ipvlan", "chained without a single interface", local+`,"prevResult":{"cniVersion":"1.1.0","interfaces":[{"name":"a"},{"name":"b"}]}`, "chained master failure. PrevResult lacks a single named interface", ""),
		row("ipvlan", "chained without addresses", `,"prevResult":{"cniVersion":"1.1.0","interfaces":[{"name":"dummy0"}]}`, "no plugin name provided", "ipam.type"),
		row("ipvlan", "result broken", local+`,"master":"dummy0","prevResult":{"cniVersion":"1.1.0","ips":[{"address":"x"}]}`, "", "prevResult.ips[0].address"),
		row("vlan", "without master", local+`,"vlanId":7`, `"master" field is required. It specifies the host interface name to create the VLAN for`, "master"),
		row("vlan", "ID negative", local+`,"master":"dummy0","vlanId":-1`, "invalid VLAN ID -1 (must be between 0 and 4095 inclusive)", "vlanId"),
		row("vlan", "ID too large", local+`,"master":"dummy0","vlanId":4095`, "invalid VLAN ID 4095", "vlanId"),
		row("vlan", "master empty", local+`,"master":"","vlanId":7`, `"master" field is required. It specifies the host interface name to create the VLAN for`, "master"),
		row("vlan", "ID a fraction", local+`,"master":"dummy0","vlanId":7.5`, "expected a whole number", "vlanId"),
		row("vlan", "ID a string", local+`,"master":"dummy0","vlanId":"7"`, "expected a number", "vlanId"),
		row("dummy", "without IPAM", ``, "dummy interface requires an IPAM configuration", "ipam.type"),
		row("dummy", "dns a string", local+`,"dns":"8.8.8.8"`, "expected an object", "dns"),
		row("dummy", "range bad", `,"ipam":{"type":"host-local","subnet":"10.7.0.0/32"}`, "too small to allocate from", ""),
		badInput{name: "dummy of the host", ownWords: true, program: "dummy", conf: conf("dummy", local), env: env{"CNI_NETNS": "/proc/self/ns/net"}, code: 8, msg: "should not be the same"},
		badInput{name: "dummy of nobody", program: "dummy", conf: conf("dummy", local), env: env{"CNI_NETNS": "/nowhere"}, code: 4, msg: `failed to open netns "/nowhere"`},
		badInput{name: "dummy without a namespace", program: "dummy", conf: conf("dummy", local), env: env{"CNI_NETNS": ""}, code: 4, msg: "[CNI_NETNS] missing"},
		badInput{name: "dummy unknown argument", program: "dummy", conf: conf("dummy", local), env: env{"CNI_ARGS": "FOO=bar"}, code: 4, msg: "ARGS: unknown args"},
		badInput{name: "dummy CHECK without result", ownWords: true, verb: "CHECK", program: "dummy", conf: conf("dummy", local), code: 7, msg: "dummy: Required prevResult missing"},
	)
}
