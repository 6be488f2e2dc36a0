// SPDX-License-Identifier: Apache-2.0

package main

import (
	"encoding/json"
	"net/netip"
)

// podmansNetwork is a network of podman's, as `bridge create` completes it: a driver has its program's name. It chooses
// addresses, from the range of [standardConfig].
const podmansNetwork = `{"name": "crash", "id": "2f259bab93aaaaa2542ba43ef33eb990d0999ee1b9924b557b7be53c0b7a1bb9", "driver": "bridge",
	"network_interface": "cnibr0", "internal": false, "ipv6_enabled": false, "dns_enabled": false,
	"subnets": [{"subnet": "172.19.1.0/28", "gateway": "172.19.1.1", "lease_range": {"start_ip": "172.19.1.2", "end_ip": "172.19.1.4"}}],
	"ipam_options": {"driver": "swiftcni"}, "options": {"ipam": "swiftcni"}}`

// driving is swiftcni as a driver plugin of netavark, whose protocol knows no CHECK and no GC.
func driving(p Plugin) Plugin {
	p.Name, p.Brief, p.Modes, p.Verbs = oursDrives, true, []string{modeKill, modeFail, modeLimits}, []string{"ADD", "DEL"}
	p.Driver, p.Config = true, podmansNetwork
	return p
}

// driverVerbs are netavark's words for CNI's.
var driverVerbs = map[string]string{"ADD": "setup", "DEL": "teardown"}

// driverInput is the input of a driver's verbs (NetworkPluginExec in netavark's plugin.rs). A port
// and what a firewall wants are part of it.
func (c call) driverInput() (string, error) {
	encoded, err := json.Marshal(map[string]any{
		"container_id": c.id, "container_name": c.id, "network": json.RawMessage(c.Config),
		"network_options": map[string]any{"interface_name": "eth0"},
		"port_mappings": []map[string]any{
			{"host_ip": "", "host_port": hostPort(c.id), "container_port": 80, "range": 1, "protocol": "tcp"},
		},
	})
	return string(encoded), err
}

// driverAddresses are the addresses in what setup answers (StatusBlock in types.rs).
func (a answer) driverAddresses() (list []netip.Addr) {
	var status struct {
		Interfaces map[string]struct {
			Subnets []struct {
				IPNet netip.Prefix `json:"ipnet"`
			} `json:"subnets"`
		} `json:"interfaces"`
	}
	if json.Unmarshal([]byte(a.stdout), &status) != nil {
		return nil
	}
	for _, l := range status.Interfaces {
		for _, s := range l.Subnets {
			list = append(list, s.IPNet.Addr())
		}
	}
	return list
}
