// SPDX-License-Identifier: Apache-2.0

package kernels

import (
	"strings"
	"testing"
)

// A network card of a guest's, as only the first namespace gets links back. It's found in each way,
// and has its name again after each way in which it can come back.
func TestHostDeviceOfHardware(t *testing.T) {
	t.Parallel()
	lendsCard(t, Bookworm)
}

func lendsCard(t *testing.T, release Release) {
	t.Helper()
	files := plugin(t)
	files["plugins/host-device"], files["plugins/static"] = files["plugins/bridge"], files["plugins/bridge"]
	files["bin/lend"], files["bin/back"] = "testdata/lend", "testdata/back"
	const name = `'"device":"eth0"'`
	steps := []step{
		{"driver", "(modprobe virtio_pci || true) && modprobe virtio_net && back eth0 && ip link set lo up", contains("52:54:00:00:00:05")},
	}
	for _, way := range []struct{ name, keys string }{
		{"device", name}, {"hwaddr", `'"hwaddr":"52:54:00:00:00:05"'`}, {"pciBusID", `'"pciBusID":"0000:00:05.0"'`},
		{"deviceID", `'"runtimeConfig":{"deviceID":"0000:00:05.0"}'`},
		{"kernelpath", `'"kernelpath":"'$(readlink -f /sys/class/net/eth0/device)'"'`},
	} {
		steps = append(steps,
			step{"add_by_" + way.name, "ip netns add c1 && lend ADD c1 " + way.keys, contains(`"mac": "52:54:00:00:00:05"`)},
			step{"inside_" + way.name, "ip netns exec c1 ip link show net1 || nsenter --net=/run/netns/c1 ip link show net1", contains("alias eth0")},
			step{"taken_" + way.name, "ip netns add c2 && lend ADD c2 " + name, fails},
			step{"del_of_nothing_" + way.name, "lend DEL c2 " + name + " && ip netns del c2", prints("")},
			step{"del_" + way.name, "lend DEL c1 " + name + " && ip netns del c1", prints("")},
			step{"back_" + way.name, "ip link show eth0", restored})
	}
	for _, way := range []struct{ name, before, as, restore string }{
		{"DEL", "true", "net1", "lend DEL _c1 " + name},
		{"DEL_of_the_vanished", "true", "net1", "lend DEL c1 " + name},
		{"DEL_by_PCI", "true", "net1", `lend DEL _c1 '"pciBusID":"0000:00:05.0"'`},
		{"DEL_where_the_name_is_taken", "ip link add net1 type bridge", "$(ls /sys/bus/pci/devices/0000:00:05.0/virtio*/net)", "lend DEL _c1 " + name + " && ip link del net1"},
		{"GC", "true", "net1", `lend GC _c1 '"device":"eth0","cni.dev/valid-attachments":[]'`},
		{"ADD", "true", "net1", "ip netns add c2 && lend ADD c2 " + name + ">/dev/null && lend DEL c2 " + name + " && ip netns del c2"},
		{"ADD_by_PCI", "true", "net1", `ip netns add c2 && lend ADD c2 '"pciBusID":"0000:00:05.0"' >/dev/null && lend DEL c2 ` + name + " && ip netns del c2"},
	} {
		steps = append(steps,
			step{"lend_for_" + way.name, "ip netns add c1 && lend ADD c1 " + name, succeeds},
			step{"end_for_" + way.name, way.before + " && ip netns del c1 && until ls /sys/bus/pci/devices/0000:00:05.0/virtio*/net/*/ >/dev/null 2>&1; do sleep 0.1; done; back " + way.as, contains("alias eth0")},
			step{"restore_by_" + way.name, way.restore, prints("")},
			step{"restored_by_" + way.name, "ip link show eth0", restored})
	}
	boot(t, release.Kernel, files, steps)
}

// contains is the check of an output.
func contains(want string) func(t *testing.T, r Result) {
	return func(t *testing.T, r Result) {
		t.Helper()
		succeeds(t, r)
		if !strings.Contains(r.Output, want) {
			t.Errorf("no %q", want)
		}
	}
}

// restored is the check of the card on the host, without a mark.
func restored(t *testing.T, r Result) {
	t.Helper()
	contains("52:54:00:00:00:05")(t, r)
	if strings.Contains(r.Output, "alias") || strings.Contains(r.Output, "altname") {
		t.Error("a mark is left")
	}
}
