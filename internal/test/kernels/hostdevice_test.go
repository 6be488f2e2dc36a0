// SPDX-License-Identifier: Apache-2.0

package kernels

import (
	"io"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/swiftcni/swiftcni/internal/tool/build"
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
	theirs, err := build.ReferencePlugins(io.Discard, "../../..", build.ReferenceVersion, "main/host-device")
	if err != nil {
		t.Fatal(err)
	}
	files["ours/host-device"], files["reference/host-device"] = files["plugins/bridge"], filepath.Join(theirs, "host-device")
	files["plugins/macvlan"], files["plugins/ipvlan"] = files["plugins/bridge"], files["plugins/bridge"]
	for _, name := range []string{"lend", "back", "device", "driver-of"} {
		files["bin/"+name] = filepath.Join("testdata", name)
	}
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
	if release == Bookworm {
		steps = slices.Concat(steps, onLentCard(), userspaceDriver)
	}
	boot(t, release.Kernel, files, steps)
}

// onLentCard: links of the container's own on the card that it has been lent.
func onLentCard() (steps []step) {
	const within = ` '"master":"net1","linkInContainer":true,'`
	for _, kind := range []string{"macvlan", "ipvlan"} {
		for _, s := range []step{
			{"add_card", `ip netns add c1 && lend ADD c1 '"device":"eth0"'`, succeeds},
			{"add", "device ADD " + kind + " c1" + within, prints("")},
			{"is_on_it", "ip -netns c1 -d link show eth0", tells("eth0@net1:", kind+" mode ", "alias net/c1/eth0", ",UP")},
			{"check", "device CHECK " + kind + " c1" + within, prints("")},
			{"del", "device DEL " + kind + " c1" + within + " && ip -netns c1 -brief link | cut -d' ' -f1 | xargs", prints("lo net1")},
			{"add_again", "device ADD " + kind + " c1" + within, prints("")},
			{"del_card_first", `lend DEL c1 '"device":"eth0"' && ip link show eth0`, restored},
			{"del_last", "device DEL " + kind + " c1" + within + " && ip -netns c1 -brief link | cut -d' ' -f1 && ip netns del c1", prints("lo")},
		} {
			s.name = kind + "_" + s.name
			steps = append(steps, s)
		}
	}
	return steps
}

// Keys for the card that a program of DPDK's has, and what an ADD by them prints.
const (
	byPCI, byID   = `'"pciBusID":"0000:00:05.0"'`, `'"runtimeConfig":{"deviceID":"0000:00:05.0"}'`
	fixed         = `',"ipam":{"type":"static","addresses":[{"address":"10.7.0.1/24"}],"routes":[{"dst":"0.0.0.0/0","gw":"10.7.0.254"}]}'`
	leased        = `',"ipam":{"type":"host-local","subnet":"10.9.0.0/24"}'`
	toldInterface = `"interfaces": [ { "name": "net1", "sandbox": "/run/netns/c1" } ]`
	toldAddress   = `"ips": [ { "address": "10.7.0.1/24", "interface": 0 } ], "routes": [ { "dst": "0.0.0.0/0", "gw": "10.7.0.254" } ]`
)

// userspaceDriver: a driver that leaves the card to a program. The card isn't touched, and the
// addresses are the program's. The reference says the same.
var userspaceDriver = []step{
	{"is_a_programs", "driver-of 0000:00:05.0 uio_pci_generic && ip netns add c1", prints("uio_pci_generic")},
	{"told_by_pciBusID", both("PLUGINS=/mnt/$w lend ADD c1 " + byPCI), tells(toldInterface + " }exit 0")},
	{"told_with_address", both("PLUGINS=/mnt/$w lend ADD c1 " + byPCI + fixed), tells(toldInterface+", "+toldAddress, "exit 0")},
	{"told_by_deviceID", both("PLUGINS=/mnt/$w lend ADD c1 " + byID + fixed + " | tee /run/told"), tells(toldInterface+", "+toldAddress, "exit 0")},
	{"told_check", both("PLUGINS=/mnt/$w lend CHECK c1 " + byID + fixed + `',"prevResult":'"$(cat /run/told)"`), prints("exit 0")},
	{"told_del", both("PLUGINS=/mnt/$w lend DEL c1 " + byID + fixed + " && PLUGINS=/mnt/$w lend DEL c1 " + byPCI), prints("exit 0")},
	{"told_dns", "lend ADD c1 " + byPCI + `',"ipam":{"type":"static","addresses":[{"address":"10.7.0.1/24"}],"dns":{"nameservers":["192.0.2.53"]}}'`, contains("192.0.2.53")},
	{"told_its_network", "lend ADD c1 " + byPCI + `',"useInterfaceNetwork":true'`, refuses("useInterfaceNetwork is not supported for dpdk-bound devices")},
	{"left_alone", "driver-of 0000:00:05.0; ip -netns c1 -brief link | cut -d' ' -f1", prints("uio_pci_generic\nlo")},
	// Between ADD and DEL the driver may change, in either way: the lease ends.
	{"its_own_driver_by_DEL", "lend ADD c1 " + byPCI + leased + " >/dev/null && driver-of 0000:00:05.0 none && back eth0 >/dev/null && lend DEL c1 " + byPCI + leased, prints("virtio-pci")},
	{"no_lease_of_the_program", "ls /var/lib/cni/networks/lent | grep 10.9; ip link show eth0", restored},
	{"a_programs_by_DEL", "lend ADD c1 " + byPCI + leased + " >/dev/null && driver-of 0000:00:05.0 uio_pci_generic && lend DEL c1 " + byPCI + leased, prints("uio_pci_generic")},
	{"no_lease_of_the_container", "ls /var/lib/cni/networks/lent | grep 10.9; ip -netns c1 -brief link | cut -d' ' -f1", prints("lo")},
	{"its_own_driver_again", "driver-of 0000:00:05.0 none && back eth0 && ip netns del c1", restored},
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
