// SPDX-License-Identifier: Apache-2.0

package main

import (
	"fmt"
	"net/netip"
	"os/exec"
	"strings"
)

// netavarkProgram is the path in Debian's package.
const netavarkProgram = "/usr/lib/podman/netavark"

// netavarkConfig is the classic configuration in netavark's form. Its caller brings the address, so
// it keeps no leases. It has our name for the network's bridge.
const netavarkConfig = `{"container_id": "{id}", "container_name": "{id}",
 "networks": {"mynet": {"interface_name": "eth0", "static_ips": ["ADDRESS"]}},
 "network_info": {"mynet": {"name": "mynet", "id": "ID", "driver": "bridge", "network_interface": "cnibr0",
  "subnets": [{"subnet": "SUBNET", "gateway": "GATEWAY"}], "ipv6_enabled": false, "internal": false, "dns_enabled": false,
  "ipam_options": {"driver": "host-local"}}}}`

// netavark isn't a CNI plugin: its verbs are arguments. One container at a time has its one
// address.
func (b builder) netavark() Contestant {
	version := "unknown"
	if out, err := exec.Command(netavarkProgram, "version").Output(); err == nil {
		if _, after, found := strings.Cut(string(out), `"version": "`); found {
			version, _, _ = strings.Cut(after, `"`)
		}
	}
	gateway := b.subnet.Addr().Next()
	// A container that stays keeps the bridge. netavark would remove it with the last one.
	stays := strings.NewReplacer("{id}", "stays").Replace(netavarkInput(b.subnet, gateway, gateway.Next().Next()))
	return Contestant{
		SetUp: "ip netns add stays && " + netavarkProgram + " setup /run/netns/stays <<'END'\n" + stays + "\nEND",
		Name:  netavark, Version: version, Plugin: netavarkProgram, Attaches: true, Subnet: b.subnet.String(),
		Calls:  map[string][]string{verbAdd: {"setup", "{netns}"}, verbDel: {"teardown", "{netns}"}},
		Config: netavarkInput(b.subnet, gateway, gateway.Next()),
	}
}

func netavarkInput(subnet netip.Prefix, gateway, address netip.Addr) string {
	return strings.NewReplacer("ADDRESS", address.String(), "SUBNET", subnet.String(), "GATEWAY", gateway.String(),
		"ID", fmt.Sprintf("%064x", 1)).Replace(netavarkConfig)
}
