// SPDX-License-Identifier: Apache-2.0

package main

// portmapConf is a configuration of portmap after bridge's, with more keys and with mappings.
func portmapConf(keys, mappings string) string {
	return `{"cniVersion":"1.1.0","name":"net","type":"portmap"` + keys + `,"runtimeConfig":{"portMappings":[` + mappings + `]},` +
		`"prevResult":{"cniVersion":"1.1.0","interfaces":[{"name":"eth0","sandbox":"/run/netns/c1"}],"ips":[{"interface":0,"address":"10.1.2.9/24"}]}}`
}

const goodMapping = `{"hostPort":8080,"containerPort":80,"protocol":"tcp"}`

func badPortmap() []badInput {
	row := func(name, keys, mappings, msg, key string) badInput {
		return badInput{name: "portmap " + name, program: "portmap", conf: portmapConf(keys, mappings), code: 7, msg: msg, key: key}
	}
	const at = "runtimeConfig.portMappings[0]"
	list := []badInput{
		row("host port missing", "", `{"containerPort":80,"protocol":"tcp"}`, "Invalid host port number: 0", at+".hostPort"),
		row("host port 0", "", `{"hostPort":0,"containerPort":80,"protocol":"tcp"}`, "Invalid host port number: 0", at+".hostPort"),
		row("host port negative", "", `{"hostPort":-1,"containerPort":80,"protocol":"tcp"}`, "Invalid host port number: -1", at+".hostPort"),
		row("host port too large", "", `{"hostPort":65536,"containerPort":80,"protocol":"tcp"}`, "expected 1 to 65535", at+".hostPort"),
		row("host port a string", "", `{"hostPort":"80","containerPort":80,"protocol":"tcp"}`, "expected a number", at+".hostPort"),
		row("host port a fraction", "", `{"hostPort":80.5,"containerPort":80,"protocol":"tcp"}`, "expected a whole number", at+".hostPort"),
		row("container port missing", "", `{"hostPort":80,"protocol":"tcp"}`, "Invalid container port number: 0", at+".containerPort"),
		row("container port too large", "", `{"hostPort":80,"containerPort":70000,"protocol":"tcp"}`, "Invalid container port number: 70000", at+".containerPort"),
		row("second mapping", "", goodMapping+`,{"hostPort":0,"containerPort":80,"protocol":"tcp"}`, "", "runtimeConfig.portMappings[1].hostPort"),
		row("protocol missing", "", `{"hostPort":80,"containerPort":80}`, `unknown protocol ""`, at+".protocol"),
		row("protocol unknown", "", `{"hostPort":80,"containerPort":80,"protocol":"icmp"}`, `unknown protocol "icmp"`, at+".protocol"),
		row("protocol a number", "", `{"hostPort":80,"containerPort":80,"protocol":6}`, "expected a string", at+".protocol"),
		row("host address isn't one", "", `{"hostPort":80,"containerPort":80,"protocol":"tcp","hostIP":"localhost"}`, "expected an IP address", at+".hostIP"),
		row("host address with a zone", "", `{"hostPort":80,"containerPort":80,"protocol":"tcp","hostIP":"fe80::1%eth0"}`, "expected an IP address", at+".hostIP"),
		row("mapped twice", "", goodMapping+`,{"hostPort":8080,"containerPort":81,"protocol":"tcp"}`, "tcp port 8080 is mapped twice", "runtimeConfig.portMappings[1]"),
		row("mapped twice, any address", "", goodMapping+`,{"hostPort":8080,"containerPort":81,"protocol":"TCP","hostIP":"0.0.0.0"}`, "mapped twice", "runtimeConfig.portMappings[1]"),
		row("mappings an object", "", `[]`, "expected an object", at),
		row("backend unknown", `,"backend":"ebpf"`, goodMapping, `unrecognized backend "ebpf"`, "backend"),
		row("backend a number", `,"backend":1`, goodMapping, "expected a string", "backend"),
		row("snat a string", `,"snat":"yes"`, goodMapping, "expected a boolean", "snat"),
		row("masqAll a number", `,"masqAll":1`, goodMapping, "expected a boolean", "masqAll"),
		row("mark bit 32", `,"markMasqBit":32`, goodMapping, "MasqMarkBit must be between 0 and 31", "markMasqBit"),
		row("mark bit of -1", `,"markMasqBit":-1`, goodMapping, "MasqMarkBit must be between 0 and 31", "markMasqBit"),
		row("mark bit negative", `,"markMasqBit":-3`, goodMapping, "MasqMarkBit must be between 0 and 31", "markMasqBit"),
		row("mark bit a string", `,"markMasqBit":"1"`, goodMapping, "expected a number", "markMasqBit"),
		row("mark chain, nftables backend", `,"externalSetMarkChain":"KUBE-MARK-MASQ","backend":"nftables"`, goodMapping,
			"nftables backend was requested but configuration contains iptables-specific options [externalSetMarkChain]", "externalSetMarkChain"),
		row("mark chain and bit", `,"externalSetMarkChain":"X","markMasqBit":3`, goodMapping, "Cannot specify externalSetMarkChain and markMasqBit", "externalSetMarkChain"),
		row("iptables backend, nftables conditions", `,"backend":"iptables","conditionsV4":["ip","saddr","10.0.0.0/8"]`, goodMapping,
			"iptables backend was requested but configuration contains nftables-specific options [conditionsV4]", "conditionsV4"),
		row("nftables backend, iptables conditions", `,"backend":"nftables","conditionsV4":["-s","10.0.0.1"],"conditionsV6":["-s","fd00::1"]`, goodMapping,
			"nftables backend was requested but configuration contains iptables-specific options [conditionsV4 conditionsV6]", "conditionsV4"),
		row("conditions a string", `,"conditionsV4":"-s 10.0.0.1"`, goodMapping, "expected a list", "conditionsV4"),
	}
	for _, c := range []struct{ key, words, msg string }{
		{"conditionsV4", `"-m","mark"`, `"-m mark" can't be carried`},
		{"conditionsV4", `"-m","addrtype","--src-type","LOOPBACK"`, `expected a type of address`},
		{"conditionsV4", `"!","-s","10.0.0.1,10.0.0.2"`, `several addresses`},
		{"conditionsV4", `"-s","10.0.0.1/255.0.255.0"`, `got "10.0.0.1/255.0.255.0"`},
		{"conditionsV4", `"ip","saddr","{","10.0.0.1"`, "has no value"},
		{"conditionsV4", `"ip","saddr","{","}"`, "has no value"},
		{"conditionsV4", `"ip","saddr","10.0.0.1-10.0.0.9"`, `got "10.0.0.1-10.0.0.9"`},
		{"conditionsV4", `"ip","saddr","{1.1.1.1,1.1.1.2,1.1.1.3,1.1.1.4,1.1.1.5,1.1.1.6,1.1.1.7,1.1.1.8,1.1.1.9}","ip","daddr","{1.1.1.1,1.1.1.2,1.1.1.3,1.1.1.4,1.1.1.5,1.1.1.6,1.1.1.7,1.1.1.8}"`, "too many values"},
		{"conditionsV4", `"-s"`, "isn't complete"},
		{"conditionsV4", `"!"`, "isn't complete"},
		{"conditionsV4", `"-s","!","10.0.0.1"`, `got "!"`},
		{"conditionsV4", `"-s","10.0.0.0/33"`, `got "10.0.0.0/33"`},
		{"conditionsV4", `"-s","fd00::1"`, "key's family"},
		{"conditionsV6", `"-d","10.0.0.1"`, "key's family"},
		{"conditionsV4", `"-i","a/b"`, "contains /"},
		{"conditionsV4", `"tcp","sport","80"`, `"tcp" can't be carried`},
		{"conditionsV4", `"ip","saddr"`, "has no value"},
		{"conditionsV4", `"ip6","saddr","fd00::1"`, "other family"},
		{"conditionsV6", `"ip6","saddr","{","fd00::1","fd00::2/129","}"`, `got "fd00::2/129"`},
		{"conditionsV6", `"iifname","0123456789abcdef"`, "too long"},
	} {
		r := row(c.key+" "+c.words, `,"`+c.key+`":[`+c.words+`]`, goodMapping, c.msg, c.key)
		r.ownWords = true // the reference takes nftables' syntax only if backend says so
		list = append(list, r)
	}
	return append(list,
		badInput{name: "portmap without prevResult", program: "portmap", conf: `{"cniVersion":"1.1.0","name":"net","type":"portmap","runtimeConfig":{"portMappings":[` + goodMapping + `]}}`,
			code: 7, msg: "must be called as chained plugin", key: "prevResult"},
		badInput{name: "portmap with a prevResult of another form", ownWords: true, program: "portmap", conf: `{"cniVersion":"1.1.0","name":"net","type":"portmap","prevResult":{"cniVersion":"0.4.0"}}`, code: 7, key: "prevResult"},
		badInput{name: "portmap CHECK without prevResult", program: "portmap", verb: "CHECK", conf: `{"cniVersion":"1.1.0","name":"net","type":"portmap"}`, code: 7, key: "prevResult"},
		badInput{name: "portmap in the host's namespace", program: "portmap", conf: portmapConf("", goodMapping), env: env{"CNI_NETNS": "/proc/self/ns/net"}, code: 8},
		badInput{name: "portmap STATUS", program: "portmap", verb: "STATUS", conf: portmapConf(`,"backend":"x"`, ""), code: 7, key: "backend"})
}
