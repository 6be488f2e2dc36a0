// SPDX-License-Identifier: Apache-2.0

package main

func badStatic() []badInput {
	row := func(name, ipam, msg, key string) badInput {
		return badInput{name: "static " + name, program: "static", code: 7, msg: msg, key: key,
			conf: `{"cniVersion":"1.1.0","name":"net","type":"static","ipam":{"type":"static"` + ipam + `}}`}
	}
	good := `{"cniVersion":"1.1.0","name":"net","type":"static","ipam":{"type":"static","addresses":[{"address":"10.1.2.9/24","gateway":"10.1.2.1"}]}}`
	bridge := row("of a bridge", `,"addresses":[{"address":"10.1.2.9"}]`, "the 'address' field is expected to be in CIDR notation, got: '10.1.2.9'", "ipam.addresses[0]")
	bridge.program = "bridge"
	none := row("of a bridge without addresses", ``, "IPAM plugin returned missing IP config", "")
	none.program = "bridge"
	two := row("two of a family at 0.2.0", ``, "CNI version 0.2.0 does not support more than 1 address per family", "")
	two.conf = `{"cniVersion":"0.2.0","name":"net","type":"static","ipam":{"type":"static","addresses":[{"address":"10.1.2.9/24"},{"address":"10.1.3.9/24"}]}}`
	return []badInput{
		row("address without length", `,"addresses":[{"address":"10.1.2.9"}]`, "the 'address' field is expected to be in CIDR notation, got: '10.1.2.9'", "ipam.addresses[0]"),
		row("address missing", `,"addresses":[{}]`, "the 'address' field is expected to be in CIDR notation, got: ''", "ipam.addresses[0]"),
		row("address a number", `,"addresses":[{"address":7}]`, "expected a string", "ipam.addresses[0].address"),
		row("address of nonsense", `,"addresses":[{"address":"zzz/24"}]`, "got: 'zzz/24'", "ipam.addresses[0]"),
		row("addresses an object", `,"addresses":{"address":"10.1.2.9/24"}`, "expected a list", "ipam.addresses"),
		row("addresses of strings", `,"addresses":["10.1.2.9/24"]`, "expected an object", "ipam.addresses[0]"),
		row("gateway isn't one", `,"addresses":[{"address":"10.1.2.9/24","gateway":"x"}]`, "invalid IP address: x", "ipam.addresses[0].gateway"),
		row("route without dst", `,"routes":[{"gw":"10.1.2.1"}]`, "dst", "ipam.routes[0]"),
		row("dns a list", `,"dns":[]`, "expected an object", "ipam.dns"),
		{name: "static without ipam", program: "static", conf: `{"cniVersion":"1.1.0","name":"net","type":"static"}`, code: 7, msg: "IPAM config missing 'ipam' key"},
		{name: "static CNI_ARGS without length", program: "static", conf: good, env: env{"CNI_ARGS": "IP=10.1.2.9"}, code: 4, msg: "the 'ip' field is expected to be in CIDR notation, got: '10.1.2.9'"},
		{name: "static CNI_ARGS of nonsense", ownWords: true, program: "static", conf: good, env: env{"CNI_ARGS": "IP=zzz"}, code: 4, msg: "zzz"},
		{name: "static gateway of nonsense", program: "static", conf: good, env: env{"CNI_ARGS": "GATEWAY=zzz"}, code: 4, msg: "zzz"},
		{name: "static unknown argument", program: "static", conf: good, env: env{"CNI_ARGS": "X=y"}, code: 4, msg: `ARGS: unknown args ["X=y"]`},
		{name: "static runtimeConfig without length", program: "static", conf: good, replace: `runtimeConfig.ips=["10.1.2.9"]`, code: 7, key: "runtimeConfig.ips",
			msg: "an entry in the 'ips' field is NOT in CIDR notation, got: '10.1.2.9'"},
		{name: "static args without length", program: "static", conf: good, replace: `args.cni.ips=["10.1.2.9"]`, code: 7, key: "args.cni.ips",
			msg: "an entry in the 'ips' field is NOT in CIDR notation, got: '10.1.2.9'"},
		{name: "static CHECK without result", verb: "CHECK", program: "static", conf: good, code: 7, msg: "Required prevResult missing"},
		{name: "static CHECK of another gateway", verb: "CHECK", program: "static", conf: good, code: 999, msg: "static: Failed to match addr 10.1.2.9 on interface eth0",
			replace: `prevResult={"cniVersion":"1.1.0","ips":[{"address":"10.1.2.9/24","gateway":"10.1.2.2"}]}`},
		bridge, none, two,
	}
}

func badPtP() []badInput {
	conf := func(keys, ipam string) string {
		return `{"cniVersion":"1.1.0","name":"ptp","type":"ptp"` + keys + `,"ipam":{` + ipam + `}}`
	}
	const local = `"type":"host-local","subnet":"10.4.0.0/24"`
	const fixed = `"type":"static","addresses":[{"address":"10.4.0.9/24","gateway":"10.4.0.1"}]` // leaves no store, even when it's used
	row := func(name, conf, msg, key string) badInput {
		return badInput{name: "ptp " + name, program: "ptp", conf: conf, code: 7, msg: msg, key: key}
	}
	taken := row("interface taken", conf("", fixed), `container veth name ("lo") peer provided ("veth`, "")
	taken.code, taken.env = 101, env{"CNI_IFNAME": "lo"}
	low := row("mtu too low for IPv6", conf(`,"mtu":1200`, `"type":"host-local","subnet":"fd00:4::/64"`), `"mtu" is 1200, and IPv6 needs 1280`, "")
	low.ownWords = true
	noGateway := row("no gateway", conf("", `"type":"static","addresses":[{"address":"10.4.0.9/24"}]`), "ptp needs a gateway, which IPAM didn't give for 10.4.0.9/24", "")
	noGateway.ownWords = true
	small := row("MTU too small", conf(`,"mtu":20`, fixed), "failed to make veth pair", "")
	small.code = 999
	route := row("route refused", conf("", fixed+`,"routes":[{"dst":"192.0.2.0/24","gw":"203.0.113.1"}]`), "route 192.0.2.0/24 via 203.0.113.1", "")
	route.code, route.ownWords = 999, true
	return []badInput{
		taken, small, route,
		noGateway,
		row("without ipam", `{"cniVersion":"1.1.0","name":"ptp","type":"ptp"}`, "no plugin name provided", "ipam"),
		row("ipam without type", conf("", `"x":1`), "no plugin name provided", "ipam"),
		row("ipam unknown", conf("", `"type":"nobody"`), `failed to find plugin "nobody"`, ""),
		row("no range", conf("", `"type":"host-local"`), "no IP ranges specified", ""),
		row("own gateway", conf("", `"type":"static","addresses":[{"address":"10.4.0.9/24","gateway":"10.4.0.9"}]`), "the container's address 10.4.0.9 is its gateway's", ""),
		low,
		row("mtu a string", conf(`,"mtu":"x"`, local), `expected a number or "auto", got "x"`, "mtu"),
		row("mtu too large", conf(`,"mtu":65536`, local), "65535", "mtu"),
		row("host's end too long", conf(`,"hostInterfaceName":"host01234567{hash}"`, local), `"{hash}" may stand for 4 to 8 digits`, "hostInterfaceName"),
		row("queues none", conf(`,"queues":0`, local), "expected 1 to", "queues"),
		row("outbound address of another family", conf(`,"ipMasq":true,"outboundAddr6":"192.0.2.1"`, local), "a host's address", "outboundAddr6"),
		row("outbound address without masquerade", conf(`,"outboundAddr4":"192.0.2.1"`, local), "outboundAddr4 needs masquerade", ""),
		row("ipMasq a string", conf(`,"ipMasq":"yes"`, local), "expected a boolean", "ipMasq"),
		row("backend", conf(`,"ipMasq":true,"ipMasqBackend":"pf"`, local), `unknown ipmasq backend "pf"`, ""),
		row("dns a string", conf(`,"dns":"1.1.1.1"`, local), "expected an object", "dns"),
		{name: "ptp CHECK without result", ownWords: true, verb: "CHECK", program: "ptp", conf: conf("", local), code: 7, msg: "Required prevResult missing"},
		{name: "ptp STATUS with a bad key", verb: "STATUS", program: "ptp", conf: conf(`,"mtu":"x"`, local), code: 7, key: "mtu"},
		{name: "ptp GC at 1.0.0", verb: "GC", program: "ptp", conf: `{"cniVersion":"1.0.0","name":"ptp","type":"ptp"}`, code: 1, msg: "config version does not allow GC"},
		{name: "ptp namespace is the host's", program: "ptp", conf: conf("", local), env: env{"CNI_NETNS": "/proc/self/ns/net"}, code: 8},
		{name: "ptp namespace missing", program: "ptp", conf: conf("", local), env: env{"CNI_NETNS": "/run/netns/nobody"}, code: 4, msg: "no such file or directory"},
	}
}

func badBandwidth() []badInput {
	row := func(name, keys, msg, key string) badInput {
		return badInput{name: "bandwidth " + name, program: "bandwidth", conf: chainedConf("bandwidth", keys), code: 7, msg: msg, key: key}
	}
	limits := `,"ingressRate":8000,"ingressBurst":8000`
	host := row("namespace is the host's", limits, "", "")
	host.code, host.env = 8, env{"CNI_NETNS": "/proc/self/ns/net"}
	gone := row("namespace missing", limits, "no such file or directory", "")
	gone.code, gone.env = 4, env{"CNI_NETNS": "/run/netns/nobody"}
	noVeth := row("no interface", limits, "container interface eth0 has no veth peer", "")
	noVeth.code = 999
	list := []badInput{
		host, gone, noVeth,
		row("rate alone", `,"ingressRate":8000`, "if rate is set, burst must also be set", "ingressBurst"),
		row("burst alone", `,"egressBurst":8000`, "if burst is set, rate must also be set", "egressRate"),
		row("burst of 4 GiB", `,"egressRate":8000,"egressBurst":34359738360`, "burst cannot be more than 4GB", "egressBurst"),
		row("rate of 65 bits", `,"egressRate":18446744073709551616,"egressBurst":8`, "expected a whole number", "egressRate"),
		row("rate a fraction", `,"egressRate":1.5,"egressBurst":8`, "expected a whole number", "egressRate"),
		row("of runtimeConfig", `,"runtimeConfig":{"bandwidth":{"ingressRate":8000}}`, "if rate is set, burst must also be set", "runtimeConfig.bandwidth.ingressBurst"),
		row("runtimeConfig a list", `,"runtimeConfig":{"bandwidth":[1]}`, "expected an object", "runtimeConfig.bandwidth"),
		{name: "bandwidth without result", program: "bandwidth", conf: `{"cniVersion":"1.1.0","name":"net","type":"bandwidth"` + limits + `}`, code: 7, msg: "must be called as chained plugin"},
		{name: "bandwidth without result or limits", program: "bandwidth", conf: `{"cniVersion":"1.1.0","name":"net","type":"bandwidth"}`, code: 7, msg: "must be called as chained plugin"},
		{name: "bandwidth CHECK without result", verb: "CHECK", program: "bandwidth", conf: `{"cniVersion":"1.1.0","name":"net","type":"bandwidth"}`, code: 7, msg: "must be called as a chained plugin"},
		{name: "bandwidth of no interfaces", program: "bandwidth", code: 7, msg: "no interfaces provided",
			conf: `{"cniVersion":"1.1.0","name":"net","type":"bandwidth"` + limits + `,"prevResult":{"cniVersion":"1.1.0","ips":[{"address":"10.1.2.9/24"}]}}`},
		{name: "bandwidth at 0.2.0", program: "bandwidth", conf: `{"cniVersion":"0.2.0","name":"net","type":"bandwidth"}`, code: 1,
			msg: `config is "0.2.0", plugin supports ["0.3.0" "0.3.1" "0.4.0" "1.0.0" "1.1.0"]`},
		{name: "bandwidth STATUS with a bad key", verb: "STATUS", program: "bandwidth", conf: chainedConf("bandwidth", `,"ingressRate":"x"`), code: 7, key: "ingressRate"},
	}
	for _, key := range []string{"ingressRate", "ingressBurst", "egressRate", "egressBurst"} {
		list = append(list, row(key+" a string", `,"`+key+`":"10M"`, "expected a number", key), row(key+" negative", `,"`+key+`":-1`, "expected 0 to", key))
	}
	return list
}

func badSBR() []badInput {
	row := func(name, keys, msg, key string) badInput {
		return badInput{name: "sbr " + name, program: "sbr", conf: chainedConf("sbr", keys), code: 7, msg: msg, key: key}
	}
	host := row("namespace is the host's", ``, "", "")
	host.code, host.env = 8, env{"CNI_NETNS": "/proc/self/ns/net"}
	gone := row("namespace missing", ``, "no such file or directory", "")
	gone.ownWords, gone.code, gone.env = true, 4, env{"CNI_NETNS": "/run/netns/nobody"}
	missing := row("no interface", ``, "Cannot find network interface eth0", "")
	missing.code = 999
	return []badInput{
		host, gone, missing,
		row("table a string", `,"table":"main"`, "expected a number", "table"),
		row("table 0", `,"table":0`, "expected 1 to", "table"),
		row("table of 33 bits", `,"table":4294967296`, "expected 1 to", "table"),
		row("gateways a string", `,"gateways":"10.1.2.1"`, "expected a list", "gateways"),
		row("gateway isn't one", `,"gateways":["x"]`, "invalid static gateway IP address: x", "gateways[0]"),
		row("two gateways of a family", `,"gateways":["10.1.2.1","10.1.2.2"]`, "gateways list contains multiple IPv4 addresses: 10.1.2.1 and 10.1.2.2", "gateways[1]"),
		row("hints a number", `,"addSourceHints":1`, "expected a boolean", "addSourceHints"),
		{name: "sbr without result", program: "sbr", conf: `{"cniVersion":"1.1.0","name":"net","type":"sbr"}`, code: 7, msg: "This plugin must be called as chained plugin"},
		{name: "sbr CHECK without result", verb: "CHECK", program: "sbr", conf: `{"cniVersion":"1.1.0","name":"net","type":"sbr"}`, code: 7, msg: "This plugin must be called as chained plugin"},
		{name: "sbr without addresses", program: "sbr", conf: `{"cniVersion":"1.1.0","name":"net","type":"sbr","prevResult":{"cniVersion":"1.1.0"}}`, code: 7,
			msg: "No IP addresses supplied on interface: eth0"},
		{name: "sbr STATUS with a bad key", verb: "STATUS", program: "sbr", conf: `{"cniVersion":"1.1.0","name":"net","type":"sbr","table":"x"}`, code: 7, key: "table"},
	}
}
