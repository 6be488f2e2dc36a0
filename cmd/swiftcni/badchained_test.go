// SPDX-License-Identifier: Apache-2.0

package main

// chainedConf is a configuration of a chained plugin after bridge's, with more keys.
func chainedConf(plugin, keys string) string {
	return `{"cniVersion":"1.1.0","name":"net","type":"` + plugin + `"` + keys + `,"prevResult":{"cniVersion":"1.1.0",` +
		`"interfaces":[{"name":"br0"},{"name":"eth0","sandbox":"/run/netns/c1"}],"ips":[{"interface":1,"address":"10.1.2.9/24"}]}}`
}

func badFirewall() []badInput {
	row := func(name, keys, msg, key string) badInput {
		return badInput{name: "firewall " + name, program: "firewall", conf: chainedConf("firewall", keys), code: 7, msg: msg, key: key}
	}
	supported := `plugin supports ["0.4.0" "1.0.0" "1.1.0"]`
	return []badInput{
		row("backend unknown", `,"backend":"ebpf"`, `unrecognized backend "ebpf"`, "backend"),
		row("backend a number", `,"backend":1`, "expected a string", "backend"),
		row("firewalld doesn't run", `,"backend":"firewalld"`, "firewalld doesn't run", "backend"),
		row("policy unknown", `,"ingressPolicy":"none"`, `unknown ingress policy: "none"`, "ingressPolicy"),
		row("policy a boolean", `,"ingressPolicy":true`, "expected a string", "ingressPolicy"),
		row("zone a list", `,"firewalldZone":["trusted"]`, "expected a string", "firewalldZone"),
		row("admin chain a number", `,"iptablesAdminChainName":7`, "expected a string", "iptablesAdminChainName"),
		row("admin chain with a space", `,"iptablesAdminChainName":"A B"`, "at most 28 characters", "iptablesAdminChainName"),
		row("admin chain an option", `,"iptablesAdminChainName":"-F"`, "at most 28 characters", "iptablesAdminChainName"),
		row("admin chain too long", `,"iptablesAdminChainName":"ABCDEFGHIJKLMNOPQRSTUVWXYZABC"`, "at most 28 characters", "iptablesAdminChainName"),
		row("admin chain our own", `,"iptablesAdminChainName":"CNI-FORWARD"`, "at most 28 characters", "iptablesAdminChainName"),
		{name: "firewall without result", program: "firewall", conf: `{"cniVersion":"1.1.0","name":"net","type":"firewall"}`, code: 7, msg: "missing prevResult from earlier plugin"},
		{name: "firewall CHECK without result", verb: "CHECK", program: "firewall", conf: `{"cniVersion":"1.1.0","name":"net","type":"firewall"}`, code: 7,
			msg: "missing prevResult from earlier plugin"},
		{name: "firewall policy without a bridge", program: "firewall", code: 7, key: "ingressPolicy",
			conf: `{"cniVersion":"1.1.0","name":"net","type":"firewall","ingressPolicy":"isolated","prevResult":{"cniVersion":"1.1.0","ips":[{"address":"10.1.2.9/24"}]}}`,
			msg:  `interface needs to be set for ingress policy "isolated", make sure to chain "firewall" plugin with "bridge"`},
		{name: "firewall result broken", program: "firewall", code: 7, key: "prevResult.ips[0].address",
			conf: `{"cniVersion":"1.1.0","name":"net","type":"firewall","prevResult":{"cniVersion":"1.1.0","ips":[{"address":"10.1.2.900/24"}]}}`},
		{name: "firewall at 0.3.1", program: "firewall", conf: `{"cniVersion":"0.3.1","name":"net","type":"firewall"}`, code: 1, msg: `config is "0.3.1", ` + supported},
		{name: "firewall DEL at 0.2.0", verb: "DEL", program: "firewall", conf: `{"cniVersion":"0.2.0","name":"net","type":"firewall"}`, code: 1, msg: supported},
		{name: "firewall STATUS with a bad key", verb: "STATUS", program: "firewall", conf: chainedConf("firewall", `,"ingressPolicy":"x"`), code: 7, key: "ingressPolicy"},
	}
}

func badTuning() []badInput {
	row := func(name, keys, msg, key string) badInput {
		return badInput{name: "tuning " + name, program: "tuning", conf: chainedConf("tuning", keys), code: 7, msg: msg, key: key}
	}
	list := []badInput{
		row("sysctl outside net", `,"sysctl":{"kernel.panic":"1"}`, `invalid net sysctl key: "kernel/panic"`, "sysctl.kernel.panic"),
		row("sysctl upwards", `,"sysctl":{"net/../../kernel/panic/../../../../../etc/passwd":"1"}`, "no such file", ""),
		row("sysctl of args outside net", `,"args":{"cni":{"sysctl":{"vm.swappiness":"1"}}}`, "invalid net sysctl key", "args.cni.sysctl.vm.swappiness"),
		row("sysctl twice", `,"sysctl":{"net.core.somaxconn":"1","net.core.somaxconn":"2"}`, "duplicated sysctl keys are not allowed", "sysctl.net.core.somaxconn"),
		row("sysctl a number", `,"sysctl":{"net.core.somaxconn":1}`, "expected a string", "sysctl.net.core.somaxconn"),
		row("sysctl a list", `,"sysctl":["net.core.somaxconn=1"]`, "expected an object", "sysctl"),
		row("sysctl unknown", `,"sysctl":{"net.nothing":"1"}`, "no such file", "net.nothing"),
		row("MAC isn't one", `,"mac":"zz"`, "invalid args zz for MAC addr", "mac"),
		row("MAC of eight octets", `,"mac":"02:00:00:00:00:00:00:01"`, "expected six octets", "mac"),
		row("MAC of runtimeConfig", `,"runtimeConfig":{"mac":"zz"}`, "invalid args zz for MAC addr", "runtimeConfig.mac"),
		row("MAC of args", `,"args":{"cni":{"mac":"zz"}}`, "invalid args zz for MAC addr", "args.cni.mac"),
		row("MTU negative", `,"mtu":-1`, "expected 0 to 65535", "mtu"),
		row("MTU too large", `,"mtu":65536`, "expected 0 to 65535", "mtu"),
		row("MTU a string", `,"mtu":"1400"`, "expected a number", "mtu"),
		row("MTU of args", `,"args":{"cni":{"mtu":true}}`, "expected a number", "args.cni.mtu"),
		row("promisc a string", `,"promisc":"on"`, "expected a boolean", "promisc"),
		row("allmulti a number", `,"allmulti":1`, "expected a boolean", "allmulti"),
		row("txQLen negative", `,"txQLen":-5`, "expected 0 to", "txQLen"),
		row("txQLen a fraction", `,"txQLen":1.5`, "expected a whole number", "txQLen"),
		row("dataDir relative", `,"dataDir":"x"`, "expected an absolute path", "dataDir"),
		row("dataDir a number", `,"dataDir":1`, "expected a string", "dataDir"),
		row("no such link", `,"mtu":1400`, `failed to get "eth0"`, ""),
		{name: "tuning without result", program: "tuning", conf: `{"cniVersion":"1.1.0","name":"net","type":"tuning"}`, code: 7, msg: "Required prevResult missing"},
		{name: "tuning of the host", program: "tuning", conf: chainedConf("tuning", `,"mtu":1400`), env: env{"CNI_NETNS": "/proc/self/ns/net"}, code: 8, msg: "should not be the same"},
		{name: "tuning of nobody", program: "tuning", conf: chainedConf("tuning", ``), env: env{"CNI_NETNS": "/nowhere"}, code: 4, msg: "failed to Statfs"},
		{name: "tuning MAC of CNI_ARGS", program: "tuning", conf: chainedConf("tuning", ``), env: env{"CNI_ARGS": "MAC=zz"}, code: 7, msg: "invalid args zz for MAC addr"},
	}
	for i, row := range list {
		switch row.name {
		case "tuning sysctl upwards", "tuning sysctl unknown", "tuning no such link":
			list[i].code = 999
		}
	}
	return list
}
