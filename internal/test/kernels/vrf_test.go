// SPDX-License-Identifier: Apache-2.0

package kernels

import (
	"fmt"
	"io"
	"path/filepath"
	"strings"
	"testing"

	"github.com/swiftcni/swiftcni/internal/tool/build"
)

// addVRF adds what the steps of vrfs need to a guest's files: the plugin, and the reference's in
// /mnt/reference.
func addVRF(t *testing.T, files map[string]string) {
	t.Helper()
	theirs, err := build.ReferencePlugins(io.Discard, "../../..", build.ReferenceVersion, "meta/vrf")
	if err != nil {
		t.Fatal(err)
	}
	files["plugins/vrf"], files["reference/vrf"] = files["plugins/bridge"], filepath.Join(theirs, "vrf")
	for _, name := range []string{"vrf", "ported", "routed"} {
		files["bin/"+name] = filepath.Join("testdata", name)
	}
}

// both is a command for each side, which must do and say the same. $w is whose it is.
func both(command string) string {
	return "for w in ours reference; do (" + command + `) > /run/$w.said 2>&1; echo "exit $?" >> /run/$w.said; done
		cat /run/ours.said; cmp /run/ours.said /run/reference.said || cat /run/reference.said`
}

// alike is a state that must be the same on both sides.
const alike = "routed ours > /run/ours.state; routed reference > /run/reference.state; busybox diff /run/reference.state /run/ours.state"

// vrfs: what the plugin vrf does beside the reference's, in two containers that begin alike.
var vrfs = []step{
	{"containers", "modprobe veth; ported ours; ported reference; routed ours > /run/before; " + alike, prints("")},

	{"add", both("vrf $w ADD $w eth0 '\"vrfname\":\"red\",\"table\":77' | sed s/$w/it/"), prints(addedVRF)},
	{"same_after_add", alike, prints("")},
	{"addresses_and_routes_are_back", "routed ours | grep -cE 'fd00:1::2/64|default via fd00:1::1 dev eth0 table 77|10.9.0.0/16 via 10.1.0.9 dev eth0 table 77 metric 5 mtu 1400'", prints("3")},
	{"reaches_by_the_vrf", "ip netns exec ours ping -c1 -W60 -I red 10.1.0.1 && ip netns exec ours ping -c1 -W60 -I red fd00:1::1", succeeds},
	{"check", both("vrf $w CHECK $w eth0 '\"vrfname\":\"red\",\"table\":77'"), prints("exit 0")},
	{"check_of_a_link_outside", both("vrf $w CHECK $w eth1 '\"vrfname\":\"red\"'"), prints("failed to find eth1 associated to vrf red\nexit 1")},
	{"add_twice", both("vrf $w ADD $w eth0 '\"vrfname\":\"red\"'"), prints("cmdAdd failed: interface eth0 has already a master set: red\nexit 1")},
	{"add_to_another_table", both("vrf $w ADD $w eth1 '\"vrfname\":\"red\",\"table\":78'"), prints("cmdAdd failed: VRF red already exist with different routing table 77\nexit 1")},
	{"same_after_refusals", alike, prints("")},
	{"add_second", both("vrf $w ADD $w eth1 '\"vrfname\":\"red\"' | sed s/$w/it/"), prints(addedVRF)},
	{"same_after_second", alike, prints("")},
	{"del_first", both("vrf $w DEL $w eth0 '\"vrfname\":\"red\"'"), prints("exit 0")},
	{"same_after_del", alike, prints("")},
	{"del_twice", both("vrf $w DEL $w eth0 '\"vrfname\":\"red\"'"), prints("exit 0")},
	{"second_stays", "ip -netns ours -brief link show master red | wc -l", prints("1")},
	{"del_last", both("vrf $w DEL $w eth1 '\"vrfname\":\"red\"'"), prints("exit 0")},
	{"same_after_last", alike, prints("")},
	{"no_vrf_left", "ip -netns ours -brief link show type vrf", prints("")},
	{"del_without_a_vrf", both("vrf $w DEL $w eth0 '\"vrfname\":\"red\"'"), prints("exit 0")},
	{"del_without_a_namespace", both("vrf $w DEL nobody eth0 '\"vrfname\":\"red\"'"), prints("exit 0")},

	{"first_free_table", both("vrf $w ADD $w eth1 '\"vrfname\":\"red\"' >/dev/null; ip -netns $w -details link show red | grep -o 'table [0-9]*'"), prints("table 1\nexit 0")},
	{"end_of_first", both("vrf $w DEL $w eth1 '\"vrfname\":\"red\"'"), prints("exit 0")},

	// A table that's asked for may be another VRF's: so the kernel, unless net.vrf.strict_mode is 1.
	{"table_of_another", both("ip -netns $w link add blue type vrf table 77; vrf $w ADD $w eth1 '\"vrfname\":\"red\",\"table\":77' > /dev/null; ip -netns $w -details link show red | grep -o 'table [0-9]*'"), prints("table 77\nexit 0")},
	{"end_of_table_of_another", both("vrf $w DEL $w eth1 '\"vrfname\":\"red\"'"), prints("exit 0")},
	{"table_of_another_refused", both("ip netns exec $w sh -c 'echo 1 > /proc/sys/net/vrf/strict_mode'; vrf $w ADD $w eth1 '\"vrfname\":\"red\",\"table\":77'; ip netns exec $w sh -c 'echo 0 > /proc/sys/net/vrf/strict_mode'; ip -netns $w link delete blue"), prints("cmdAdd failed: could not add VRF red: device or resource busy\nexit 0")},

	// Where ours differs.
	{"routes_keep_their_lifetimes", `ip -netns ours -6 route add fd00:88::/64 dev eth1 expires 3000; vrf ours ADD ours eth1 '"vrfname":"red"' > /dev/null
		ip -netns ours -6 route show vrf red | grep -cE '^fd00:88::/64 dev eth1 .*expires [0-9]+sec'; vrf ours DEL ours eth1 '"vrfname":"red"'`, prints("1")},
	{"used_tables_are_not_free", `ported busy && ip -netns busy rule add from 10.1.0.2 lookup 1 && ip -netns busy route add 10.77.0.0/16 dev eth1 table 2 &&
		vrf ours ADD busy eth0 '"vrfname":"red"' > /dev/null; ip -netns busy -details link show red | grep -o 'table [0-9]*'`, prints("table 3")},
	{"lost_link", "ip -netns busy link delete eth0; vrf ours DEL busy eth0 '\"vrfname\":\"red\"'; ip -netns busy -brief link show type vrf", prints("")},
	{"killed_before_the_link_was_in", `ip -netns busy link add red type vrf table 9; vrf ours DEL busy eth1 '"vrfname":"red"'; ip -netns busy -brief link show type vrf`, prints("")},
	{"keeps_out_of_others", `ip -netns busy link add green type vrf table 10; ip -netns busy link add red type vrf table 11
		ip -netns busy link set eth1 master green; vrf ours DEL busy eth1 '"vrfname":"red"'; ip -netns busy -brief link show master green | cut -d@ -f1`, prints("eth1")},
	{"other_kind", `vrf ours DEL busy eth1 '"vrfname":"lo"'; vrf ours ADD busy eth1 '"vrfname":"lo"'`, says("cmdAdd failed: Netlink lo is not a VRF")},
	{"check_finds_another_table", `vrf ours ADD ours eth0 '"vrfname":"red","table":77' > /dev/null; vrf ours CHECK ours eth0 '"vrfname":"red","table":78'`, says("VRF red has table 77, and should have 78")},
	{"check_finds_it_down", `ip -netns ours link set red down; vrf ours CHECK ours eth0 '"vrfname":"red"'`, says("VRF red is down")},
	{"gateway_by_its_own_route", `vrf ours DEL ours eth0 '"vrfname":"red"'
		for w in ours reference; do i="ip -netns $w"; $i address flush dev eth0; $i address add 10.1.0.2/32 dev eth0
			$i route add 10.1.0.1 dev eth0; $i route add default via 10.1.0.1; $i -6 route add fd00:77::/64 dev eth0 proto ra; done
		vrf ours ADD ours eth0 '"vrfname":"red","table":77' > /dev/null && ip -netns ours route show table 77 | grep -E '^(default|10.1.0.1)' | xargs`,
		prints("default via 10.1.0.1 dev eth0 10.1.0.1 dev eth0 scope link")},
	{"advertised_routes_are_the_routers", "ip -netns ours -6 route show table all | grep fd00:77::", prints0},
	{"reference_fails", `vrf reference ADD reference eth0 '"vrfname":"red","table":77'`, says("cmdAdd failed: could not add route")},
	{"undone", `ported twin && routed twin | grep -vE 'l3mdev|fd00:1::2' | sort > /run/before && ip netns exec twin sh -c 'echo 1 > /proc/sys/net/ipv6/conf/eth0/accept_dad' &&
		ip -netns twin-far address add fd00:1::2/64 dev far0 nodad; vrf ours ADD twin eth0 '"vrfname":"red"'`,
		says("cmdAdd failed: failed getting local/host addresses for eth0: duplicate address detection failed: fd00:1::2 is in use")},
	{"as_before", "ip -netns twin -brief link show type vrf; routed twin | grep -vE 'l3mdev|fd00:1::2' | sort | busybox diff /run/before -", prints("")},

	// Wherever ADD is killed, DEL leaves neither VRF nor port. The last tries are late enough for ADD to have ended.
	{"killed", `ported killed; add() { vrf ours ADD killed eth0 '"vrfname":"red"'; }; add > /dev/null; vrf ours DEL killed eth0 '"vrfname":"red"'
		for i in $(seq 40); do
			add > /dev/null 2>&1 & busybox usleep $((i * 5000)); while busybox killall -q -KILL vrf; do :; done; wait
			ip -netns killed -brief link show type vrf | cut -d' ' -f1 >> /run/met
			vrf ours DEL killed eth0 '"vrfname":"red"' && ip -netns killed link show | grep -E 'red|master'
		done; sort /run/met | uniq -c | xargs`, met},

	{"list", "ip netns add l1 && tool add vrf l1 > /dev/null && tool check vrf l1", prints("")},
	{"list_reaches", "inside l1 ping -c1 -W60 -I blue 10.20.0.1 && inside l1 ping -c1 -W60 -I blue fd00:20::1", succeeds},
	{"list_ends", "tool del vrf l1 && tool del vrf l1 && ip -netns l1 -brief link | grep -v ^lo", prints0},
}

// met is the check of kills that met an ADD at its work, some of them before the VRF was there and some after.
func met(t *testing.T, r Result) {
	t.Helper()
	succeeds(t, r)
	got, times := strings.TrimSpace(r.Output), 0
	if _, err := fmt.Sscanf(got, "%d red", &times); err != nil || times == 40 || got != fmt.Sprintf("%d red", times) {
		t.Errorf("VRFs met, or left: %q", got)
	}
}

// says is the check of a command that shall fail with a text.
func says(text string) func(t *testing.T, r Result) {
	return func(t *testing.T, r Result) {
		t.Helper()
		fails(t, r)
		if !strings.Contains(r.Output, text) {
			t.Errorf("it doesn't say %q", text)
		}
	}
}

// addedVRF is what an ADD prints: prevResult.
const addedVRF = `{"cniVersion":"1.1.0","interfaces":[{"name":"eth0","sandbox":"/run/netns/it"}],"ips":[{"address":"10.1.0.2/24","gateway":"10.1.0.1","interface":0}],` +
	`"routes":[{"dst":"0.0.0.0/0","gw":"10.1.0.1"}]}exit 0`
