// SPDX-License-Identifier: Apache-2.0

package kernels

import "testing"

// podman's option vlan, by the driver: containers of one VLAN reach each other and their gateway.
func TestVLANOfPodmansNetworks(t *testing.T) {
	t.Parallel()
	files := plugin(t)
	files["bin/driver"], files["bin/inside"], files["bin/port"] = "testdata/driver", "testdata/inside", "testdata/port"
	boot(t, Bookworm.Kernel, files, []step{
		{"containers", "ip link set lo up && for c in d1 d2 d3; do ip netns add $c; done", succeeds},
		{"setup_d1", "driver setup d1 2 100", succeeds},
		{"setup_d2", "driver setup d2 3 100", succeeds},
		{"setup_d3", "driver setup d3 4 200", succeeds},
		{"vlan_of_d1", "bridge -json vlan show dev $(port d1)", portVLANs("100 pvid untagged")},
		{"vlan_of_d3", "bridge -json vlan show dev $(port d3)", portVLANs("200 pvid untagged")},
		{"gateway", "inside d1 ping -c1 -W60 10.77.0.1", succeeds},
		{"same_vlan", "inside d1 ping -c1 -W60 10.77.0.3", succeeds},
		{"other_vlan", "inside d1 ping -c1 -W1 10.77.0.4", hearsNothing},
		{"teardown", "driver teardown d1 2 100 && driver teardown d2 3 100 && driver teardown d3 4 200", prints("")},
		{"no_port_left", "ip -oneline link show master pod0 | grep -v pod0.", prints0},
	})
}
