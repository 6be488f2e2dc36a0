// SPDX-License-Identifier: Apache-2.0

package main

import "strings"

// badDHCP are wrong keys of dhcp's, which are found before a daemon is asked: there's none.
func badDHCP() (list []badInput) {
	long := strings.Repeat("x", 256)
	for _, c := range []struct{ name, ipam, msg, key string }{
		{"socket a number", `"daemonSocketPath":7`, "expected a string", "ipam.daemonSocketPath"},
		{"provide an object", `"provide":{"option":"12"}`, "expected a list", "ipam.provide"},
		{"provide of strings", `"provide":["12"]`, "expected an object", "ipam.provide[0]"},
		{"provided option of nonsense", `"provide":[{"option":"12","value":"x"},{"option":"hostname"}]`, `got "hostname"`, "ipam.provide[1].option"},
		{"provided option too large", `"provide":[{"option":"256"}]`, `got "256"`, "ipam.provide[0].option"},
		{"provided option a number", `"provide":[{"option":12}]`, "expected a string", "ipam.provide[0].option"},
		{"value too long", `"provide":[{"option":"12","value":"` + long + `"}]`, "expected at most 255 bytes", "ipam.provide[0].value"},
		{"value a list", `"provide":[{"option":"12","value":[]}]`, "expected a string", "ipam.provide[0].value"},
		{"argument a number", `"provide":[{"option":"12","fromArg":1}]`, "expected a string", "ipam.provide[0].fromArg"},
		{"requested option of nonsense", `"request":[{"option":"-1"}]`, `got "-1"`, "ipam.request[0].option"},
		{"request an object", `"request":{"option":"12"}`, "expected a list", "ipam.request"},
		{"request of strings", `"request":["12"]`, "expected an object", "ipam.request[0]"},
		{"requested option a number", `"request":[{"option":12}]`, "expected a string", "ipam.request[0].option"},
		{"skipDefault a string", `"request":[{"skipDefault":"true"}]`, "expected a boolean", "ipam.request[0].skipDefault"},
		{"priority a string", `"priority":"1"`, "expected a number", "ipam.priority"},
		{"priority a fraction", `"priority":1.5`, "expected a whole number", "ipam.priority"},
		{"priority negative", `"priority":-1`, "expected 0 to 4294967295", "ipam.priority"},
	} {
		for _, program := range []string{"dhcp", "bridge", "ptp", "macvlan", "host-device"} {
			list = append(list, badInput{name: program + " " + c.name, program: program, code: 7, msg: c.msg, key: c.key, ownWords: true,
				conf: `{"cniVersion":"1.1.0","name":"net","type":"` + program + `","bridge":"br9","master":"uplink","device":"uplink","ipam":{"type":"dhcp",` + c.ipam + `}}`})
		}
	}
	return append(list, badInput{name: "dhcp without ipam", program: "dhcp", conf: `{"cniVersion":"1.1.0","name":"net","type":"dhcp"}`, code: 7,
		msg: "IPAM config missing 'ipam' key", ownWords: true})
}
