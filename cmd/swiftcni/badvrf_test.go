// SPDX-License-Identifier: Apache-2.0

package main

// badVRF is for a kernel with VRFs and for one without: the refusals come before one is made.
func badVRF() []badInput {
	row := func(name, keys, msg, key string) badInput {
		return badInput{name: "vrf " + name, program: "vrf", conf: chainedConf("vrf", keys), code: 7, msg: msg, key: key}
	}
	good, bare := `,"vrfname":"red"`, `{"cniVersion":"1.1.0","name":"net","type":"vrf","vrfname":"red"}`
	host := row("namespace is the host's", good, "", "")
	host.ownWords, host.code, host.env = true, 8, env{"CNI_NETNS": "/proc/self/ns/net"}
	gone := row("namespace missing", good, "no such file or directory", "")
	gone.ownWords, gone.code, gone.env = true, 4, env{"CNI_NETNS": "/run/netns/nobody"}
	missing := row("no interface", good, "cmdAdd failed: could not get link by name eth0", "")
	missing.ownWords, missing.code = true, 999 // the reference makes the VRF first
	long := row("name of 16", `,"vrfname":"red0123456789012"`, "configuration is expected to have a valid vrf name", "vrfname")
	slash := row("name with a slash", `,"vrfname":"../x"`, "configuration is expected to have a valid vrf name", "vrfname")
	long.ownWords, slash.ownWords = true, true // the reference leaves that to the kernel
	gc := row("GC at 1.0.0", "", "config version does not allow GC", "")
	gc.verb, gc.code, gc.conf = "GC", 1, `{"cniVersion":"1.0.0","name":"net","type":"vrf","vrfname":"red"}`
	return []badInput{
		host, gone, missing, long, slash, gc,
		row("without a name", ``, "configuration is expected to have a valid vrf name", ""),
		row("name empty", `,"vrfname":""`, "configuration is expected to have a valid vrf name", ""),
		row("name a number", `,"vrfname":7`, "expected a string", "vrfname"),
		row("name of another link", `,"vrfname":"lo"`, "cmdAdd failed: Netlink lo is not a VRF", ""),
		row("table a string", good+`,"table":"main"`, "expected a number", "table"),
		row("table a fraction", good+`,"table":1.5`, "expected a whole number", "table"),
		row("table negative", good+`,"table":-1`, "expected 0 to", "table"),
		row("table of 33 bits", good+`,"table":4294967296`, "expected 0 to", "table"),
		{name: "vrf without result", program: "vrf", conf: bare, code: 7, msg: "missing prevResult from earlier plugin"},
		{name: "vrf CHECK without result", verb: "CHECK", program: "vrf", conf: bare, code: 7, msg: "missing prevResult from earlier plugin"},
		{name: "vrf CHECK without a VRF", verb: "CHECK", program: "vrf", conf: chainedConf("vrf", good), code: 999, msg: "Link not found"},
		{name: "vrf CHECK of another link", verb: "CHECK", program: "vrf", conf: chainedConf("vrf", `,"vrfname":"lo"`), code: 999, msg: "Netlink lo is not a VRF"},
		{name: "vrf at 0.3.0", program: "vrf", conf: `{"cniVersion":"0.3.0","name":"net","type":"vrf","vrfname":"red"}`, code: 1,
			msg: `config is "0.3.0", plugin supports ["0.3.1" "0.4.0" "1.0.0" "1.1.0"]`},
		{name: "vrf STATUS with a bad key", verb: "STATUS", program: "vrf", conf: chainedConf("vrf", ``), code: 7, key: "vrfname"},
	}
}
