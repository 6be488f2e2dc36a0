// SPDX-License-Identifier: Apache-2.0

package main

import (
	"fmt"
	"strings"
)

func badInputs() []badInput {
	var list []badInput
	for _, rows := range [][]badInput{badVariables(), badTexts(), badVersions(), badTypes(), badNames(), badRanges(), badCombinations(), badNamespaces(), badPortmap(), badFirewall(), badTuning(), badStatic(), badPtP(), badBandwidth(), badSBR(), badDevices(), badDHCP(), badHostDevice(), badVRF(), badTap()} {
		list = append(list, rows...)
	}
	return list
}

type env = map[string]string

func badVariables() []badInput {
	return []badInput{
		{name: "container ID missing", env: env{"CNI_CONTAINERID": ""}, code: 4, msg: "required env variables [CNI_CONTAINERID] missing"},
		{name: "namespace missing", env: env{"CNI_NETNS": ""}, code: 4, msg: "required env variables [CNI_NETNS] missing"},
		{name: "interface name missing", env: env{"CNI_IFNAME": ""}, code: 4, msg: "required env variables [CNI_IFNAME] missing"},
		{name: "path missing", env: env{"CNI_PATH": ""}, code: 4, msg: "required env variables [CNI_PATH] missing"},
		{name: "all missing", env: env{"CNI_CONTAINERID": "", "CNI_NETNS": "", "CNI_IFNAME": "", "CNI_PATH": ""}, code: 4,
			msg: "required env variables [CNI_CONTAINERID,CNI_NETNS,CNI_IFNAME,CNI_PATH] missing"},
		{name: "all missing of DEL", verb: "DEL", env: env{"CNI_CONTAINERID": "", "CNI_NETNS": "", "CNI_IFNAME": "", "CNI_PATH": ""}, code: 4,
			msg: "required env variables [CNI_CONTAINERID,CNI_IFNAME,CNI_PATH] missing"},
		{name: "all missing of CHECK", verb: "CHECK", env: env{"CNI_CONTAINERID": "", "CNI_NETNS": "", "CNI_IFNAME": "", "CNI_PATH": ""}, code: 4,
			msg: "required env variables [CNI_CONTAINERID,CNI_NETNS,CNI_IFNAME,CNI_PATH] missing"},
		{name: "path missing of GC", verb: "GC", env: env{"CNI_PATH": ""}, code: 4, msg: "required env variables [CNI_PATH] missing"},
		{name: "path missing of STATUS", verb: "STATUS", env: env{"CNI_PATH": ""}, code: 4, msg: "required env variables [CNI_PATH] missing"},
		{name: "bad container ID beats missing name", env: env{"CNI_CONTAINERID": "a/b", "CNI_IFNAME": ""}, code: 4, msg: "invalid characters in containerID"},
		{name: "container ID upwards", env: env{"CNI_CONTAINERID": "../../etc/passwd"}, code: 4, msg: "../../etc/passwd"},
		{name: "container ID upwards on DEL", verb: "DEL", env: env{"CNI_CONTAINERID": ".."}, code: 4, msg: "invalid characters in containerID"},
		{name: "container ID begins with a dash", env: env{"CNI_CONTAINERID": "-c"}, code: 4, msg: "invalid characters in containerID"},
		{name: "container ID with a newline", env: env{"CNI_CONTAINERID": "c1\n"}, code: 4, msg: "invalid characters in containerID"},
		{name: "container ID with a space", env: env{"CNI_CONTAINERID": "c 1"}, code: 4, msg: "invalid characters in containerID"},
		{name: "container ID of another alphabet", env: env{"CNI_CONTAINERID": "ça"}, code: 4, msg: "invalid characters in containerID"},
		{name: "interface name of 16", env: env{"CNI_IFNAME": "eth0123456789012"}, code: 4, msg: "interface name is too long"},
		{name: "interface name of 16, details", env: env{"CNI_IFNAME": "eth0123456789012"}, code: 4, msg: "less than 16"},
		{name: "interface name .", env: env{"CNI_IFNAME": "."}, code: 4, msg: "interface name is . or .."},
		{name: "interface name ..", env: env{"CNI_IFNAME": ".."}, code: 4, msg: "interface name is . or .."},
		{name: "interface name with slash", env: env{"CNI_IFNAME": "../x"}, code: 4, msg: "interface name contains / or : or whitespace characters"},
		{name: "interface name with colon", env: env{"CNI_IFNAME": "eth0:1"}, code: 4, msg: "interface name contains / or : or whitespace characters"},
		{name: "interface name with space", env: env{"CNI_IFNAME": "eth 0"}, code: 4, msg: "interface name contains / or : or whitespace characters"},
		{name: "interface name with no-break space", env: env{"CNI_IFNAME": "e\u00a0h"}, code: 4, msg: "interface name contains / or : or whitespace characters"},
		{name: "interface name that is a format", env: env{"CNI_IFNAME": "eth%d"}, code: 4, msg: "%"},
		{name: "unknown verb", verb: "FROB", code: 4, msg: "unknown CNI_COMMAND: FROB"},
		{name: "verb in lower case", verb: "add", code: 4, msg: "unknown CNI_COMMAND: add"},
		{name: "unknown verb with bad text", verb: "FROB", conf: "{", code: 6},
		{name: "arguments without value", env: env{"CNI_ARGS": "FOO"}, code: 4, msg: `ARGS: invalid pair "FOO"`},
		{name: "arguments with two equal signs", env: env{"CNI_ARGS": "A=B=C"}, code: 4, msg: `ARGS: invalid pair "A=B=C"`},
		{name: "arguments end in a semicolon", env: env{"CNI_ARGS": "IgnoreUnknown=1;"}, code: 4, msg: `ARGS: invalid pair`},
		{name: "unknown arguments", env: env{"CNI_ARGS": "FOO=bar;X=y"}, code: 4, msg: `ARGS: unknown args ["FOO=bar" "X=y"]`},
		{name: "unknown not ignored", env: env{"CNI_ARGS": "FOO=bar;IgnoreUnknown=0"}, code: 4, msg: `ARGS: unknown args ["FOO=bar"]`},
		{name: "IgnoreUnknown maybe", env: env{"CNI_ARGS": "IgnoreUnknown=maybe"}, code: 4, msg: "IgnoreUnknown"},
		{name: "argument IP isn't one", ownWords: true, env: env{"CNI_ARGS": "IP=10.1.2.999"}, code: 4, msg: "10.1.2.999"},
		{name: "argument MAC isn't one", env: env{"CNI_ARGS": "MAC=nonsense"}, code: 7, msg: "failed to make veth pair"},
		{name: "argument IP in use", ownWords: true, env: env{"CNI_ARGS": "IP=10.1.2.2"}, code: 101, msg: "requested IP address 10.1.2.2 is not available in range set 10.1.2.1-10.1.2.254"},
		{name: "argument IP is the gateway", ownWords: true, env: env{"CNI_ARGS": "IP=10.1.2.1"}, code: 999, msg: "requested ip 10.1.2.1 is subnet's gateway"},
		{name: "argument IP is outside", ownWords: true, env: env{"CNI_ARGS": "IP=10.9.9.9"}, code: 999, msg: "failed to allocate all requested IPs: 10.9.9.9"},
	}
}

func badTexts() []badInput {
	const begin = "error unmarshall network config:"
	list := []badInput{
		{name: "empty", conf: " ", code: 6, msg: begin},
		{name: "truncated", conf: good[:len(good)/2], code: 6, msg: begin},
		{name: "text after", conf: good + "x", code: 6, msg: begin},
		{name: "two objects", conf: good + good, code: 6, msg: begin},
		{name: "a list", conf: "[" + good + "]", code: 6, msg: begin},
		{name: "a string", conf: `"bridge"`, code: 6, msg: begin},
		{name: "not JSON", conf: "bridge: br0", code: 6, msg: begin},
		{name: "NUL bytes", conf: "\x00\x00", code: 6, msg: begin},
		{name: "huge", conf: `{"cniVersion":"1.1.0","name":"net","type":"bridge","x":"` + strings.Repeat("x", 17<<20) + `"}`, code: 5, msg: "16 MiB"},
		{name: "deep", conf: strings.Repeat(`{"a":`, 20000) + "1" + strings.Repeat("}", 20000), code: 6, msg: begin},
		{name: "name missing", replace: "name=", code: 7, msg: "missing network name"},
		{name: "name empty", replace: `name=""`, code: 7, msg: "missing network name"},
		{name: "name null", replace: `name=null`, code: 7, msg: "missing network name"},
	}
	for _, name := range []string{"../net", "a/b", ".", "..", "-n", "n n", "n\\u0000", "ça", "n\\n"} {
		list = append(list, badInput{name: "network name " + name, replace: `name="` + name + `"`, code: 7, msg: "invalid characters found in network name"})
	}
	list = append(list, badInput{name: "network name upwards on DEL", verb: "DEL", replace: `name="../../x"`, code: 7, msg: "invalid characters found in network name"},
		badInput{name: "network name too long for a file", ownWords: true, replace: `name="` + strings.Repeat("n", 300) + `"`, code: 7, key: "name"})
	return list
}

func badVersions() []badInput {
	supported := `plugin supports ["0.1.0" "0.2.0" "0.3.0" "0.3.1" "0.4.0" "1.0.0" "1.1.0"]`
	return []badInput{
		{name: "future version", replace: `cniVersion="1.2.0"`, code: 1, msg: `config is "1.2.0", ` + supported},
		{name: "version with two numbers", replace: `cniVersion="1.0"`, code: 1, msg: "incompatible CNI versions"},
		{name: "version of letters", replace: `cniVersion="one"`, code: 1, msg: "incompatible CNI versions"},
		{name: "version 1.1.0-rc1", replace: `cniVersion="1.1.0-rc1"`, code: 1, msg: "incompatible CNI versions"},
		{name: "version is a number", replace: `cniVersion=1.0`, code: 6, msg: "cniVersion"},
		{name: "future version on DEL", verb: "DEL", replace: `cniVersion="9.0.0"`, code: 1, msg: "incompatible CNI versions"},
		{name: "CHECK at 0.3.1", verb: "CHECK", replace: `cniVersion="0.3.1"`, code: 1, msg: "config version does not allow CHECK"},
		{name: "CHECK without version", verb: "CHECK", replace: `cniVersion=`, code: 1, msg: "config version does not allow CHECK"},
		{name: "CHECK of the future", verb: "CHECK", replace: `cniVersion="1.2.0"`, code: 1, msg: "plugin version does not allow CHECK"},
		{name: "CHECK of letters", verb: "CHECK", replace: `cniVersion="one"`, code: 6},
		{name: "CHECK of four numbers", verb: "CHECK", replace: `cniVersion="1.0.0.0"`, code: 6},
		{name: "GC at 1.0.0", verb: "GC", replace: `cniVersion="1.0.0"`, code: 1, msg: "config version does not allow GC"},
		{name: "STATUS at 1.0.0", verb: "STATUS", replace: `cniVersion="1.0.0"`, code: 1, msg: "config version does not allow STATUS"},
		{name: "STATUS of the future", verb: "STATUS", replace: `cniVersion="2.0.0"`, code: 1, msg: "plugin version does not allow STATUS"},
		{name: "CHECK without prevResult", ownWords: true, verb: "CHECK", code: 7, msg: "Required prevResult missing"},
		{name: "CHECK with a prevResult of another form", ownWords: true, verb: "CHECK", replace: `prevResult={"cniVersion":"0.4.0"}`, code: 7, key: "prevResult"},
		{name: "CHECK with a prevResult that's a list", verb: "CHECK", replace: `prevResult=[]`, code: 7, key: "prevResult"},
		{name: "GC with an object", verb: "GC", conf: `{"cniVersion":"1.1.0","name":"net","type":"bridge","bridge":"br0","cni.dev/valid-attachments":{}}`, code: 7, key: "cni.dev/valid-attachments"},
		{name: "GC with an unnamed attachment", verb: "GC", conf: `{"cniVersion":"1.1.0","name":"net","type":"bridge","bridge":"br0","cni.dev/valid-attachments":[{"containerID":"live"}]}`, code: 7, key: "cni.dev/valid-attachments"},
	}
}

// badTypes gives every key each wrong kind of value.
func badTypes() []badInput {
	var list []badInput
	kinds := []struct{ name, value string }{{"boolean", `true`}, {"string", `"zzz"`}, {"number", `7`}, {"object", `{"a":1}`}, {"list", `[1]`}}
	for _, k := range []struct{ right, keys string }{
		{"boolean", "isGateway isDefaultGateway forceAddress ipMasq ip6Masq hairpinMode promiscMode preserveDefaultVlan macspoofchk enabledad disableContainerInterface portIsolation linkLocal"},
		{"string", "bridge ipMasqBackend hostInterfaceName uplinkInterface outboundAddr4 outboundAddr6 ipam.type ipam.dataDir ipam.resolvConf ipam.subnet ipam.rangeStart ipam.rangeEnd ipam.gateway dns.domain args.cni.mac runtimeConfig.mac"},
		{"number", "mtu vlan queues groupFwdMask"},
		{"object", "ipam dns args args.cni runtimeConfig"},
		{"list", "vlanTrunk dns.nameservers dns.search dns.options ipam.ranges ipam.routes args.cni.ips runtimeConfig.ips runtimeConfig.ipRanges"},
	} {
		for key := range strings.FieldsSeq(k.keys) {
			for _, kind := range kinds {
				if kind.name != k.right {
					list = append(list, badInput{name: fmt.Sprintf("%s is a %s", key, kind.name), replace: key + "=" + kind.value, code: 7, key: key})
				}
			}
			if k.right == "list" {
				list = append(list, badInput{name: key + " holds a boolean", replace: key + "=[true]", code: 7, key: key})
			}
		}
	}
	for _, addr := range []string{"192.0.2.1/24", "192.0.2.256", "2001:db8::1", "0.0.0.0", "127.0.0.1", "224.0.0.1", "255.255.255.255", "::ffff:127.0.0.1"} {
		list = append(list, badInput{name: "outboundAddr4 " + addr, replace: `outboundAddr4="` + addr + `"`, code: 7, key: "outboundAddr4"})
	}
	for _, addr := range []string{"192.0.2.1", "2001:db8::1/64", "::", "::1", "ff02::1", "fe80::1", "fe80::1%eth0", "::ffff:192.0.2.1"} {
		list = append(list, badInput{name: "outboundAddr6 " + addr, replace: `outboundAddr6="` + addr + `"`, code: 7, key: "outboundAddr6"})
	}
	for key, value := range map[string]string{"mtu": "1.5", "Mtu": `"Auto"`, "mTU": `""`, "vlan": "1e99", "queues": "0", "groupFwdMask": "65536", "groupfwdmask": "-1", "GroupFwdMask": "7", "GROUPFWDMASK": "16388", "MTU": "65536"} {
		list = append(list, badInput{name: key + " " + value, replace: key + "=" + value, code: 7, key: key})
	}
	return list
}

func badNames() []badInput {
	var list []badInput
	for _, name := range []string{"", ".", "..", "a/b", "../br", "b:r", "b r", "br%d", "bridge0123456789"} {
		list = append(list, badInput{name: "bridge " + name, replace: `bridge="` + name + `"`, code: 7, key: "bridge"})
	}
	for _, name := range []string{".", "a/b", "u:p", "u p", "up%d", "uplink0123456789", "nobody"} {
		list = append(list, badInput{name: "uplink " + name, replace: `uplinkInterface="` + name + `"`, code: 7, key: "uplinkInterface"})
	}
	for _, name := range []string{".", "a/b", "h:{hash}", "h {hash}", "h%d", "host0123456789ab", "host01234567{hash}", "h{hash}{hash}", "h{Hash}", "{hash", "all", "default"} {
		list = append(list, badInput{name: "host's end " + name, replace: `hostInterfaceName="` + name + `"`, code: 7, key: "hostInterfaceName"})
	}
	return append(list,
		badInput{name: "host's end is a stranger's", replace: `hostInterfaceName="dummy0"`, code: 101, msg: `peer provided ("dummy0") already exists`},
		badInput{name: "host's end is the bridge", replace: `hostInterfaceName="br0"`, code: 101, msg: `peer provided ("br0") already exists`},
		badInput{name: "uplink is a bridge", replace: `uplinkInterface="br0"`, code: 7, key: "uplinkInterface", msg: "it's a bridge"},
		badInput{name: "bridge is a veth", replace: `bridge="dummy0"`, code: 7, msg: `"dummy0" already exists but is not a bridge`},
		badInput{name: "bridge is lo", replace: `bridge="lo"`, code: 7, msg: `"lo" already exists but is not a bridge`},
		badInput{name: "IPAM type upwards", replace: `ipam.type="../x"`, code: 7, msg: "invalid plugin name: ../x"},
		badInput{name: "IPAM type unknown", replace: `ipam.type="nobody"`, code: 7, msg: `failed to find plugin "nobody" in path [` + oursDir() + "]"},
		badInput{name: "dataDir relative", replace: `ipam.dataDir="x"`, code: 7, key: "ipam.dataDir"},
		badInput{name: "dataDir is a file", ownWords: true, replace: `ipam.dataDir="/proc/version"`, code: 999, msg: "/proc/version"},
		badInput{name: "resolvConf missing", replace: `ipam.resolvConf="/nowhere"`, code: 7, key: "ipam.resolvConf"},
		badInput{name: "type unknown", program: "swiftcni", replace: `type="frob"`, code: 7, msg: `"frob"`},
		badInput{name: "type missing", program: "swiftcni", replace: `type=`, code: 7, key: "type"})
}

func badRanges() []badInput {
	row := func(name, ipam, msg string) badInput {
		return badInput{name: "range " + name, replace: `ipam={"type":"host-local",` + ipam + `}`, code: 7, msg: msg}
	}
	list := []badInput{
		row("none", `"x":1`, "no IP ranges specified"),
		row("set empty", `"ranges":[[]]`, "empty range set"),
		row("without subnet", `"ranges":[[{}]]`, "invalid range set 0"),
		row("too small", `"subnet":"192.0.2.0/31"`, "Network 192.0.2.0/31 too small to allocate from"),
		row("too small of IPv6", `"subnet":"fd00::/127"`, "Network fd00::/127 too small to allocate from"),
		row("host bits", `"subnet":"192.0.2.7/24"`, "Network has host bits set. For a subnet mask of length 24 the network address is 192.0.2.0"),
		row("start outside", `"subnet":"192.0.2.0/24","rangeStart":"192.0.3.0"`, "RangeStart 192.0.3.0 not in network 192.0.2.0/24"),
		row("end outside", `"subnet":"192.0.2.0/24","rangeEnd":"192.0.4.0"`, "RangeEnd 192.0.4.0 not in network 192.0.2.0/24"),
		row("inverted", `"subnet":"192.0.2.0/24","rangeStart":"192.0.2.20","rangeEnd":"192.0.2.10"`, "RangeStart 192.0.2.20 not in network 192.0.2.0/24"),
		row("start is the broadcast address", `"subnet":"192.0.2.0/24","rangeStart":"192.0.2.255"`, "RangeStart 192.0.2.255 is after RangeEnd 192.0.2.254 in network 192.0.2.0/24"),
		row("start of another family", `"subnet":"192.0.2.0/24","rangeStart":"fd00::1"`, "RangeStart fd00::1 not in network"),
		row("families mixed", `"ranges":[[{"subnet":"192.0.2.0/24"},{"subnet":"fd00::/64"}]]`, "mixed address families"),
		row("overlap in a set", `"ranges":[[{"subnet":"10.1.0.0/22"},{"subnet":"10.1.2.0/24"}]]`, "subnets 10.1.0.1-10.1.3.254 and 10.1.2.1-10.1.2.254 overlap"),
		row("overlap of sets", `"ranges":[[{"subnet":"10.1.0.0/22"}],[{"subnet":"10.1.2.0/24"}]]`, "range set 0 overlaps with 1"),
		row("gateway outside", `"subnet":"192.0.2.0/24","gateway":"192.0.3.1"`, "gateway 192.0.3.1 not in network 192.0.2.0/24"),
		row("gateway of another family", `"subnet":"192.0.2.0/24","gateway":"fd00::1"`, "gateway"),
		row("subnet without length", `"subnet":"192.0.2.0"`, "subnet"),
		row("subnet with zone", `"subnet":"fe80::%eth0/64"`, "subnet"),
		row("route without dst", `"subnet":"10.1.2.0/24","routes":[{"gw":"10.1.2.1"}]`, "dst"),
		row("route of two families", `"subnet":"10.1.2.0/24","routes":[{"dst":"::/0","gw":"10.1.2.1"}]`, "gw"),
		row("route with a scope of 256", `"subnet":"10.1.2.0/24","routes":[{"dst":"0.0.0.0/0","scope":256}]`, "scope"),
	}
	for i := range list {
		list[i].ownWords = strings.HasPrefix(list[i].name, "range route ") // it prints structures of its own
	}
	two := row("two of a family at 0.2.0", `"ranges":[[{"subnet":"10.1.0.0/24"}],[{"subnet":"10.1.2.0/24"}]]`, "CNI version 0.2.0 does not support more than 1 address per family")
	two.conf = strings.Replace(good, "1.1.0", "0.2.0", 1)
	conflict := badInput{name: "two gateways of IPv4", code: 999, msg: `"br0" already has an IP address different from 10.1.3.1/24`,
		replace: `ipam={"type":"host-local","ranges":[[{"subnet":"10.1.2.0/24"}],[{"subnet":"10.1.3.0/24"}]]}`}
	other := badInput{name: "another gateway than the bridge's", code: 999, msg: `failed to set bridge addr: "br0" already has an IP address different from 10.7.0.1/24`,
		replace: `ipam={"type":"host-local","subnet":"10.7.0.0/24"}`}
	return append(list, two, conflict, other)
}

func badCombinations() []badInput {
	return []badInput{
		{name: "container down with addresses", replace: `disableContainerInterface=true`, code: 7, msg: "cannot use IPAM when DisableContainerInterface flag is set"},
		{name: "hairpin and promiscuous", conf: strings.Replace(good, `"ipMasq":true`, `"hairpinMode":true,"promiscMode":true`, 1), code: 7,
			msg: "cannot set hairpin mode and promiscuous mode at the same time"},
		{name: "vlan too high", replace: `vlan=4095`, code: 7, msg: "invalid VLAN ID 4095 (must be between 0 and 4094)"},
		{name: "vlan negative", replace: `vlan=-1`, code: 7, msg: "invalid VLAN ID -1 (must be between 0 and 4094)"},
		{name: "trunk id", replace: `vlanTrunk=[{"id":0}]`, code: 7, msg: "incorrect trunk id parameter"},
		{name: "trunk minID", replace: `vlanTrunk=[{"minID":0,"maxID":5}]`, code: 7, msg: "incorrect trunk minID parameter"},
		{name: "trunk maxID", replace: `vlanTrunk=[{"minID":1,"maxID":5000}]`, code: 7, msg: "incorrect trunk maxID parameter"},
		{name: "trunk inverted", replace: `vlanTrunk=[{"minID":9,"maxID":5}]`, code: 7, msg: "minID is greater than maxID in trunk parameter"},
		{name: "trunk without minID", replace: `vlanTrunk=[{"maxID":5}]`, code: 7, msg: "minID and maxID should be configured simultaneously, minID is missing"},
		{name: "trunk without maxID", replace: `vlanTrunk=[{"minID":5}]`, code: 7, msg: "minID and maxID should be configured simultaneously, maxID is missing"},
		{name: "outbound address without masquerade", conf: strings.Replace(good, `"ipMasq":true`, `"ip6Masq":true`, 1), replace: `outboundAddr4="192.0.2.1"`, code: 7,
			msg: `outboundAddr4 needs masquerade`},
		{name: "outbound address without masquerade of IPv6", conf: strings.Replace(good, `"ipMasq":true`, `"ipMasq":true,"ip6Masq":false`, 1),
			replace: `outboundAddr6="2001:db8::1"`, code: 7, msg: `outboundAddr6 needs masquerade`},
		{name: "backend", replace: `ipMasqBackend="pf"`, code: 7, msg: `unknown ipmasq backend "pf"`},
		{name: "no address at 0.2.0", conf: `{"cniVersion":"0.2.0","name":"l2","type":"bridge","bridge":"br0"}`, code: 7, msg: "cannot convert: no valid IP addresses"},
		{name: "mac of eight octets", replace: `runtimeConfig.mac="02:11:22:33:44:55:66:77"`, code: 7, msg: "six octets"},
		{name: "mac of a group", replace: `runtimeConfig.mac="03:11:22:33:44:55"`, code: 999, msg: "failed to make veth pair"},
		{name: "mtu too low for IPv6", conf: strings.Replace(good, "10.1.2.0/24", "fd00:1::/64", 1), replace: `mtu=1279`, code: 7, msg: `"mtu" is 1279, and IPv6 needs 1280`, ownWords: true},
		{name: "mtu too low for a static IPv6 address", replace: `ipam={"type":"static","addresses":[{"address":"fd00:1::9/64"}]}`, conf: strings.Replace(good, `"ipMasq"`, `"mtu":1200,"ipMasq"`, 1),
			code: 7, msg: `"mtu" is 1200, and IPv6 needs 1280`, ownWords: true},
		{name: "mtu too low", replace: `mtu=20`, code: 999, msg: "failed to make veth pair"},
		{name: "attached already", ownWords: true, env: env{"CNI_CONTAINERID": "live", "CNI_NETNS": "/run/netns/live"}, code: 101, msg: "10.1.2.2 has been allocated to live, duplicate allocation is not allowed"},
		{name: "interface taken in the container", env: env{"CNI_IFNAME": "lo"}, code: 101, msg: `container veth name ("lo") peer provided ("veth`},
	}
}

func badNamespaces() []badInput {
	var list []badInput
	for _, program := range []string{"bridge", "loopback"} {
		list = append(list,
			badInput{name: program + " namespace missing", program: program, env: env{"CNI_NETNS": "/run/netns/nobody"}, code: 4, msg: "no such file or directory"},
			badInput{name: program + " namespace is a file", program: program, env: env{"CNI_NETNS": "/etc/passwd"}, code: 4, msg: "/etc/passwd"},
			badInput{name: program + " namespace is a directory", program: program, env: env{"CNI_NETNS": "/proc"}, code: 4, msg: "/proc"},
			badInput{name: program + " namespace is another kind", program: program, env: env{"CNI_NETNS": "/proc/self/ns/mnt"}, code: 4, msg: "/proc/self/ns/mnt"},
			badInput{name: program + " namespace is a proc file", program: program, env: env{"CNI_NETNS": "/proc/self/status"}, code: 4, msg: "/proc/self/status"},
			badInput{name: program + " namespace is the host's", program: program, env: env{"CNI_NETNS": "/proc/self/ns/net"}, code: 8,
				msg: "plugin's netns and netns from CNI_NETNS should not be the same"},
			badInput{name: program + " namespace is the host's on DEL", program: program, verb: "DEL", env: env{"CNI_NETNS": "/proc/self/ns/net"}, code: 8,
				msg: "plugin's netns and netns from CNI_NETNS should not be the same"})
	}
	return list
}
