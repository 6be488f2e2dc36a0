// SPDX-License-Identifier: Apache-2.0

package main

func badTap() []badInput {
	row := func(name, keys, msg, key string) badInput {
		return badInput{name: "tap " + name, program: "tap", conf: tapConf("1.1.0", keys), code: 7, msg: msg, key: key, ownWords: true}
	}
	with := func(row badInput, change func(*badInput)) badInput {
		change(&row)
		return row
	}
	late := func(r *badInput) { r.code = 999 }
	return []badInput{
		row("multiQueue a number", `,"multiQueue":1`, "expected a boolean", "multiQueue"),
		row("MTU a string", `,"mtu":"1400"`, "expected a number", "mtu"),
		row("MTU negative", `,"mtu":-1`, "expected 0 to 65535", "mtu"),
		with(row("MTU above the kernel's", `,"mtu":65535`, "failed to set up tap", ""), late),
		row("MTU too small for IPv6", `,"mtu":1279,"ipam":{"type":"host-local","ranges":[[{"subnet":"fd00:7::/64"}]]}`, "IPv6 needs 1280", "mtu"),
		row("MAC isn't one", `,"mac":"zz"`, "invalid args zz for MAC addr", "mac"),
		row("MAC of a group", `,"mac":"01:00:00:00:00:01"`, "expected the MAC of one link", "mac"),
		row("MAC a number", `,"mac":7`, "expected a string", "mac"),
		row("MTU a fraction", `,"mtu":1.5`, "expected a whole number", "mtu"),
		row("runtimeConfig a list", `,"runtimeConfig":[]`, "expected an object", "runtimeConfig"),
		row("MAC of runtimeConfig a number", `,"runtimeConfig":{"mac":7}`, "expected a string", "runtimeConfig.mac"),
		row("MAC of runtimeConfig", `,"runtimeConfig":{"mac":"zz"}`, "invalid args zz for MAC addr", "runtimeConfig.mac"),
		with(row("MAC of CNI_ARGS", ``, "invalid args zz for MAC addr", ""), func(r *badInput) { r.env = env{"CNI_ARGS": "MAC=zz"} }),
		row("owner negative", `,"owner":-1`, "expected 0 to 4294967294", "owner"),
		row("owner of 33 bits", `,"owner":4294967296`, "expected 0 to 4294967294", "owner"),
		row("owner a name", `,"owner":"root"`, "expected a number", "owner"),
		row("owner a fraction", `,"owner":0.5`, "expected a whole number", "owner"),
		row("group negative", `,"group":-1`, "expected 0 to 4294967294", "group"),
		row("group a name", `,"group":"kvm"`, "expected a number", "group"),
		row("bridge a number", `,"bridge":1`, "expected a string", "bridge"),
		with(row("bridge missing", `,"bridge":"br0"`, "failed to get bridge br0", ""), late),
		with(row("bridge is none", `,"bridge":"lo"`, "failed to set up tap", ""), late),
		row("selinuxContext a number", `,"selinuxContext":1`, "expected a string", "selinuxContext"),
		with(row("selinuxContext without SELinux", `,"selinuxContext":"a:b:c:s0"`, "failed set socket label", ""), late),
		row("dns a string", `,"dns":"8.8.8.8"`, "expected an object", "dns"),
		row("args a number", `,"args":7`, "expected an object", "args"),
		with(row("interface taken", ``, `failed to rename tap to "lo"`, ""), func(r *badInput) { r.code, r.env = 101, env{"CNI_IFNAME": "lo"} }),
		with(row("of the host", ``, "should not be the same", ""), func(r *badInput) { r.code, r.env = 8, env{"CNI_NETNS": "/proc/self/ns/net"} }),
		with(row("of nobody", ``, `failed to open netns "/nowhere"`, ""), func(r *badInput) { r.code, r.env = 4, env{"CNI_NETNS": "/nowhere"} }),
		with(row("unknown argument", ``, "ARGS: unknown args", ""), func(r *badInput) { r.code, r.env = 4, env{"CNI_ARGS": "FOO=bar"} }),
		with(row("CHECK without result", ``, "Required prevResult missing", ""), func(r *badInput) { r.verb = "CHECK" }),
		with(row("without IPAM at 0.2.0", ``, "cannot convert: no valid IP addresses", ""), func(r *badInput) { r.conf = tapConf("0.2.0", "") }),
	}
}
