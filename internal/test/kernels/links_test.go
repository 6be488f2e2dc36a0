// SPDX-License-Identifier: Apache-2.0

package kernels

import (
	"strings"
	"testing"
)

// macvlan, ipvlan, vlan and dummy on a kernel that has them all.
func TestLinksOfTheirOwn(t *testing.T) {
	t.Parallel()
	linksOfTheirOwn(t, Bookworm, AMD64)
}

func linksOfTheirOwn(t *testing.T, release Release, arch Arch) {
	files := pluginFor(t, arch)
	for _, name := range []string{"macvlan", "ipvlan", "vlan", "dummy"} {
		files["plugins/"+name] = files["plugins/bridge"]
	}
	files["bin/device"], files["bin/inside"] = "testdata/device", "testdata/inside"
	// The host has a link called eth0, too: older kernels then refuse that name for another's.
	steps := []step{{"host", "ip netns add c1 && ip netns add c2 && ip link add eth0 type dummy && ip link add up0 type veth peer name far0 && " +
		"ip link set up0 up && ip link set far0 up && sleep 1", succeeds}}
	up, far := `'"master": "up0",'`, `'"master": "far0",'`
	for _, row := range []struct{ name, plugin, first, second, shows string }{
		{"macvlan", "macvlan", up, up, "macvlan mode bridge"},
		{"macvlan_mtu", "macvlan", `'"master": "up0", "mtu": 1400, "bcqueuelen": 7,'`, up, "macvlan mode bridge"},
		{"ipvlan", "ipvlan", up, up, "ipvlan mode l2"},
		{"ipvlan_l3", "ipvlan", `'"master": "up0", "mode": "l3",'`, `'"master": "up0", "mode": "l3",'`, "ipvlan mode l3 "},
		{"ipvlan_l3s", "ipvlan", `'"master": "up0", "mode": "l3s", "mtu": 1300,'`, `'"master": "up0", "mode": "l3s",'`, "ipvlan mode l3s "},
		{"vlan", "vlan", `'"master": "up0", "vlanId": 42,'`, `'"master": "far0", "vlanId": 42,'`, "vlan protocol 802.1Q id 42 "},
		{"vlan_0", "vlan", `'"master": "up0", "mtu": 1400,'`, `'"master": "far0",'`, "vlan protocol 802.1Q id 0 "},
		{"dummy", "dummy", "", "", "dummy"},
	} {
		call := func(verb, container, keys string) string {
			return "device " + verb + " " + row.plugin + " " + container + " " + keys
		}
		list := []step{
			{"add", call("ADD", "c1", row.first), succeeds},
			{"add_second", call("ADD", "c2", row.second), succeeds},
			{"is", "inside c1 ip -d link show eth0", tells(row.shows, "alias net/c1/eth0", ",UP")},
			{"check", call("CHECK", "c1", row.first), prints("")},
			{"status", call("STATUS", "c1", row.first), prints("")},
			{"add_again", call("ADD", "c1", row.first), fails},
			{"check_of_the_second", call("CHECK", "c2", row.second), prints("")},
			{"ping", "inside c2 ping -c3 -W60 10.7.0.1", succeeds},
			{"another_mode_or_tag", call("CHECK", "c1", strings.NewReplacer("up0", "far0", `"vlanId": 42`, `"vlanId": 43`).Replace(row.first)), fails},
			{"del", call("DEL", "c1", row.first), prints("")},
			{"del_again", call("DEL", "c1", row.first), prints("")},
			{"del_of_the_second", call("DEL", "c2", row.second), prints("")},
			{"nothing_left", "for c in c1 c2; do inside $c ip -brief link | grep -v ^lo; done; rm /run/device.*", prints("")},
		}
		for _, s := range list {
			if row.plugin == "dummy" && (s.name == "ping" || s.name == "another_mode_or_tag") {
				continue
			}
			s.name = row.name + "_" + s.name
			steps = append(steps, s)
		}
	}
	boot(t, release.on(arch), files, append(steps, []step{
		{"vlan_twice", "device ADD vlan c1 " + `'"master": "up0", "vlanId": 9,'`, succeeds},
		{"vlan_taken", "device ADD vlan c2 " + `'"master": "up0", "vlanId": 9,'`, refuses("failed to create vlan: file exists")},
		{"vlan_nothing_of_it", "inside c2 ip -brief link | grep -v ^lo", prints0},
		{"master_goes", "ip link del up0 && ip link add up0 type veth peer name far0", succeeds},
		{"del_without_the_link", "device DEL vlan c1 " + up, prints("")},
		{"ipvlan_modes_differ", "device ADD ipvlan c1 " + up, succeeds},
		{"chained", "rm -f /run/device.*; echo '{ \"cniVersion\": \"1.1.0\", \"name\": \"net\", \"type\": \"ipvlan\", \"prevResult\": { \"cniVersion\": \"1.1.0\", " +
			"\"interfaces\": [ { \"name\": \"up0\" } ], \"ips\": [ { \"address\": \"10.8.0.9/24\" } ] } }' | CNI_COMMAND=ADD CNI_CONTAINERID=c2 " +
			"CNI_NETNS=/run/netns/c2 CNI_IFNAME=eth0 CNI_PATH=/mnt/plugins /mnt/plugins/ipvlan", tells("10.8.0.9/24", `"interface": 0`)},
		{"chained_has_the_address", "inside c2 ip -d address show eth0", tells("10.8.0.9/24", "ipvlan mode l2 ")},
		{"master_is_far", "device DEL ipvlan c1 " + far + " && device DEL ipvlan c2 " + far, prints("")},
		{"none_left", "for c in c1 c2; do inside $c ip -brief link | grep -v ^lo; done", prints0},
	}...))
}

// tells is the check of a command that succeeds and prints some texts, whatever else.
func tells(texts ...string) func(t *testing.T, r Result) {
	return func(t *testing.T, r Result) {
		t.Helper()
		succeeds(t, r)
		output := strings.Join(strings.Fields(r.Output), " ")
		for _, text := range texts {
			if !strings.Contains(output, text) {
				t.Errorf("no %q", text)
			}
		}
	}
}

// refuses is the check of a call that fails with a text.
func refuses(text string) func(t *testing.T, r Result) {
	return func(t *testing.T, r Result) {
		t.Helper()
		fails(t, r)
		if !strings.Contains(r.Output, text) {
			t.Errorf("no %q", text)
		}
	}
}
