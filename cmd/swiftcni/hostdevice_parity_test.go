// SPDX-License-Identifier: Apache-2.0

package main

import (
	"regexp"
	"strings"
	"testing"
)

func hostDeviceConf(version, keys string) string {
	return `{"cniVersion":"` + version + `","name":"net","type":"host-device"` + keys + `}`
}

// buses is a host's /sys/bus in its own mount namespace, since a machine for tests has no such devices:
// card0 on the PCI bus, also by way of virtio, and on the auxiliary bus, and devices without a link.
const buses = `mount -t tmpfs bus /sys/bus; cd /sys/bus; mkdir -p pci/devices auxiliary/devices/mlx5_core.sf.4/net/card0 auxiliary/devices/mlx5_core.sf.5
	device() { mkdir -p pci/drivers/$2 pci/devices/$1; ln -s ../../drivers/$2 pci/devices/$1/driver; }
	device 0000:3b:00.0 mlx5_core; mkdir -p pci/devices/0000:3b:00.0/net/card0
	device 10000:00:1f.6 virtio-pci; mkdir -p pci/devices/10000:00:1f.6/virtio1/net/card0
	device 0000:3b:00.1 vfio-pci; device 0000:3b:00.2 igb_uio; device 0000:3b:00.3 uio_pci_generic
	device 0000:3b:00.4 mlx5_core; mkdir pci/devices/0000:3b:00.5`

// lendingWorld is a host with a link card0 that carries frames, and two containers.
func lendingWorld(t *testing.T) *world {
	t.Helper()
	w := newWorld(t, t.TempDir())
	w.must("", "sh", "-ec", `ip link add card0 address 02:11:22:00:00:01 type veth peer name far0; ip link set far0 up; ip link set card0 up
		ip addr add 10.3.0.2/24 dev card0; ip addr add fd00:3::2/64 dev card0 nodad; ip route add default via 10.3.0.1 dev card0 metric 7
		ip route add 10.4.0.0/16 via 10.3.0.9 dev card0; ip route add 10.5.0.0/16 dev card0 table 70; ip rule add from 10.3.0.2 table 70 priority 900
		ip -6 route add fd00:4::/64 via fd00:3::1 dev card0`)
	w.must("", "sh", "-ec", buses)
	for _, name := range []string{"c1", "c2"} {
		if err := w.netns(name); err != nil {
			t.Fatal(err)
		}
	}
	return w
}

// onlyOurs are the lines of the name that only ours gives a link, and of a copied address that the
// reference's looks for duplicates of.
var onlyOurs = regexp.MustCompile(`(?m)^.*(altname swm[0-9a-f]{12}|local fd00:3::2 dev).*\n?`)

// lent is what is seen of the host's link, wherever it is.
func (w *world) lent() string {
	host, err := w.exec("", "ip", "-d", "addr", "show", "card0")
	if err != nil {
		host = "none\n"
	}
	rules := w.must("c1", "sh", "-c", "ip rule; ip -6 rule")
	// Our addresses are in use at once, and so the link's own is, too.
	return onlyOurs.ReplaceAllString("host "+strings.Join(tidy(host), "\n")+"\n"+rules+observe(w, "accept_dad"), "")
}

// TestHostDeviceParity gives each configuration to the reference's plugin and to ours, and compares
// answers and what is to be seen. The reference's DEL fails where the link isn't in the container.
func TestHostDeviceParity(t *testing.T) {
	const four = `,"ipam":{"type":"host-local","subnet":"10.1.2.0/24","routes":[{"dst":"0.0.0.0/0"},{"dst":"192.168.0.0/16","gw":"10.1.2.7","priority":77}]}`
	const dual = `,"ipam":{"type":"host-local","ranges":[[{"subnet":"10.1.2.0/24"}],[{"subnet":"fd00:1::/64"}]],"routes":[{"dst":"::/0","gw":"fd00:1::1"},{"dst":"0.0.0.0/0"}]}`
	const fixed = `,"ipam":{"type":"static","addresses":[{"address":"10.1.2.9/24","gateway":"10.1.2.1"}]}`
	type row struct{ name, version, keys, args string }
	list := []row{
		{"by name", "1.1.0", `,"device":"card0"`, ""},
		{"by address", "1.1.0", `,"hwaddr":"02-11-22-00-00-01"`, ""},
		{"name before address", "1.1.0", `,"device":"card0","hwaddr":"zz","kernelpath":"/etc"`, ""},
		{"four", "1.1.0", `,"device":"card0"` + four, ""},
		{"dual", "1.1.0", `,"device":"card0"` + dual, ""},
		{"fixed", "1.1.0", `,"device":"card0"` + fixed, ""},
		{"dns", "1.1.0", `,"device":"card0","dns":{"nameservers":["1.1.1.1"]}` + four, ""},
		{"dns without addresses", "1.1.0", `,"device":"card0","dns":{"nameservers":["1.1.1.1"]}`, ""},
		{"its network", "1.1.0", `,"device":"card0","useInterfaceNetwork":true`, ""},
		{"its network and more", "1.1.0", `,"device":"card0","useInterfaceNetwork":true` + fixed, ""},
		{"its network and no more", "1.1.0", `,"device":"card0","useInterfaceNetwork":true,"ipam":{"type":"static"}`, ""},
		{"its network at 0.3.1", "0.3.1", `,"device":"card0","useInterfaceNetwork":true` + fixed, ""},
		{"no addresses", "1.1.0", `,"device":"card0","ipam":{"type":"static"}`, ""},
		{"keys in any case", "1.1.0", `,"DEVICE":"card0","dPDKMode":true`, ""},
		{"nothing", "1.1.0", ``, ""},
		{"absent", "1.1.0", `,"device":"card1"`, ""},
		{"absent address", "1.1.0", `,"hwaddr":"02:11:22:00:00:77"`, ""},
		{"bad address", "1.1.0", `,"hwaddr":"zz"`, ""},
		{"bad path", "1.1.0", `,"kernelpath":"/etc"`, ""},
		{"absent path", "1.1.0", `,"kernelpath":"/sys/devices/nowhere"`, ""},
		{"absent PCI device", "1.1.0", `,"pciBusID":"ffff:ff:1f.7"`, ""},
		{"absent deviceID", "1.1.0", `,"device":"card0","runtimeConfig":{"deviceID":"ffff:ff:1f.7"}`, ""},
		{"PCI device", "1.1.0", `,"pciBusID":"0000:3b:00.0"` + four, ""},
		{"PCI device by virtio", "1.1.0", `,"pciBusID":"10000:00:1f.6"`, ""},
		{"PCI device without a link", "1.1.0", `,"pciBusID":"0000:3b:00.4"`, ""},
		{"PCI device without a driver", "1.1.0", `,"pciBusID":"0000:3b:00.5"`, ""},
		{"deviceID on PCI", "1.1.0", `,"pciBusID":"0000:3b:00.4","runtimeConfig":{"deviceID":"0000:3b:00.0"}` + four, ""},
		{"deviceID on the auxiliary bus", "1.1.0", `,"runtimeConfig":{"deviceID":"mlx5_core.sf.4"}` + four, ""},
		{"deviceID on the auxiliary bus before PCI", "1.1.0", `,"pciBusID":"0000:3b:00.1","runtimeConfig":{"deviceID":"mlx5_core.sf.4"}`, ""},
		{"auxiliary device without a link", "1.1.0", `,"runtimeConfig":{"deviceID":"mlx5_core.sf.5"}`, ""},
		{"absent auxiliary device", "1.1.0", `,"runtimeConfig":{"deviceID":"mlx5_core.sf.6"}`, ""},
		{"name before auxiliary device", "1.1.0", `,"device":"card0","runtimeConfig":{"deviceID":"mlx5_core.sf.5"}`, ""},
		{"vfio-pci", "1.1.0", `,"pciBusID":"0000:3b:00.1"`, ""},
		{"vfio-pci with addresses", "1.1.0", `,"pciBusID":"0000:3b:00.1"` + fixed, ""},
		{"igb_uio by deviceID", "1.1.0", `,"runtimeConfig":{"deviceID":"0000:3b:00.2"}` + four, ""},
		{"uio_pci_generic beside a name", "1.1.0", `,"device":"card0","pciBusID":"0000:3b:00.3"` + four, ""},
		{"vfio-pci with its network", "1.1.0", `,"pciBusID":"0000:3b:00.1","useInterfaceNetwork":true`, ""},
		{"DPDKMode of another driver", "1.1.0", `,"pciBusID":"0000:3b:00.0","DPDKMode":true`, ""},
		{"unknown argument", "1.1.0", `,"device":"card0"`, "FOO=bar"},
		{"arguments", "1.1.0", `,"device":"card0"` + four, "IgnoreUnknown=1;IP=10.1.2.50"},
	}
	for _, v := range []string{"0.1.0", "0.2.0", "0.3.0", "0.3.1", "0.4.0", "1.0.0"} {
		list = append(list, row{"version " + v, v, `,"device":"card0"` + dual, ""}, row{"bare version " + v, v, `,"device":"card0"`, ""})
	}
	for _, c := range list {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			p := parityCase{conf: hostDeviceConf(c.version, c.keys), args: c.args}
			var seen [2][]string
			for i, plugins := range []string{referenceDir(), oursDir()} {
				w := lendingWorld(t)
				for _, step := range []struct{ verb, container string }{{"ADD", "c1"}, {"CHECK", "c1"}, {"ADD", "c2"}, {"DEL", "c2"}, {"DEL", "c1"}, {"DEL", "c1"}} {
					if step.verb == "CHECK" && c.version < "0.4.0" {
						continue
					}
					seen[i] = append(seen[i], step.verb+" "+step.container+": "+p.call(w, plugins, step.verb, step.container), w.lent())
				}
				if i == 1 {
					w.finish()
				}
			}
			if seen[0][0] == seen[1][0] && strings.HasSuffix(seen[0][0], refused) {
				return // ours has left nothing, which isn't said of the reference's
			}
			for i := range seen[0] {
				if a, b := seen[0][i], seen[1][i]; a != b && !(mayRefuse(a) && strings.HasSuffix(a, refused)) {
					t.Errorf("step %d: reference (-) and ours (+)\n%s", i, difference(a, b))
				}
			}
		})
	}
}

// A link that one program has lent is given back by the other.
func TestHostDeviceUpgradeAndDowngrade(t *testing.T) {
	t.Parallel()
	w := lendingWorld(t)
	p := parityCase{conf: hostDeviceConf("1.1.0", `,"device":"card0"`)}
	for _, from := range [][2]string{{referenceDir(), oursDir()}, {oursDir(), referenceDir()}, {oursDir(), oursDir()}} {
		for i, verb := range []string{"ADD", "DEL"} {
			if got := p.call(w, from[i], verb, "c1"); got == refused {
				t.Fatalf("%s by %s is refused", verb, from[i])
			}
		}
		if now := w.must("", "ip", "link", "show", "card0"); strings.Contains(now, "alias") || strings.Contains(now, "UP") {
			t.Errorf("from %v: %s", from, now)
		}
	}
	if now := w.must("", "ip", "link", "show", "card0"); strings.Contains(now, "altname") {
		t.Errorf("a mark is left: %s", now)
	}
}
