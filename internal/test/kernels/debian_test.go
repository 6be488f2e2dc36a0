// SPDX-License-Identifier: Apache-2.0

package kernels

import (
	"encoding/json"
	"io"
	"maps"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/swiftcni/swiftcni/cni"
	"github.com/swiftcni/swiftcni/internal/tool/build"
)

// The kernel of Debian 12 filters VLANs on bridges, and knows no NLM_F_ECHO for links.
func TestDebian12(t *testing.T) {
	t.Parallel()
	runsEverything(t, Bookworm, "6.1.")
}

// runsEverything runs the tests of rtnl on a release's kernel, and then all plugins.
func runsEverything(t *testing.T, release Release, version string) {
	t.Helper()
	rtnl := step{"rtnl", "modprobe tun && cd rtnl && rtnl.test -test.v -test.timeout 0", passes}
	runsPlugins(t, release, AMD64, version, packageTests(t, AMD64, "rtnl"), rtnl)
}

// runsPlugins runs all plugins on a release's kernel, after other steps, which need more files.
func runsPlugins(t *testing.T, release Release, arch Arch, version string, more map[string]string, first ...step) {
	t.Helper()
	files := pluginFor(t, arch)
	maps.Copy(files, more)
	files["bin/port"], files["bin/inside"] = "testdata/port", "testdata/inside"
	files["bin/tool"], files["bin/page"], files["lists"], files["www"] = "testdata/tool", "testdata/page", "testdata/lists", "testdata/www"
	files["plugins/scripted"], files["plugins/fatal"] = "testdata/scripted", "testdata/fatal"
	for _, name := range cni.PluginNames() {
		files["plugins/"+name] = files["plugins/bridge"]
	}
	var err error
	if files["bin/cnitool"], err = build.CnitoolFor(io.Discard, "../../..", arch.Go); err != nil {
		t.Fatal(err)
	}
	steps := []step{{"kernel", "uname -r", prefix(version)}}
	for _, part := range [][]step{first, accessVLAN, trunks, uplinked, asked, vlanGateway, masquerade, ends, chain, others} {
		steps = append(steps, part...)
	}
	boot(t, release.on(arch), files, steps)
}

// accessVLAN: containers of a VLAN reach each other and none of another's, on the same bridge and
// subnet.
var accessVLAN = []step{
	{"add_a1", "ip netns add a1 && cni ADD a1 access", succeeds},
	{"add_a2", "ip netns add a2 && cni ADD a2 access", succeeds},
	{"add_a3", "ip netns add a3 && cni ADD a3 access200", succeeds},
	{"add_a4", "ip netns add a4 && cni ADD a4 preserved", succeeds},
	{"bridge_filters", `ip -details link show access | grep -o "vlan_filtering [01]"`, prints("vlan_filtering 1")},
	{"only_the_vlan", "bridge -json vlan show dev $(port a1)", portVLANs("100 pvid untagged")},
	{"another_vlan", "bridge -json vlan show dev $(port a3)", portVLANs("200 pvid untagged")},
	{"default_vlan_preserved", "bridge -json vlan show dev $(port a4)", portVLANs("1 untagged", "100 pvid untagged")},
	{"same_vlan_hears", "inside a1 ping -c1 -W60 10.1.0.3", succeeds},
	{"other_vlan_is_deaf", "inside a1 ping -c1 -W1 10.1.0.4", hearsNothing},
}

// trunks: a port with several VLANs; what isn't tagged belongs to VLAN 1, or to the one that "vlan"
// names.
var trunks = []step{
	{"add_t1", "ip netns add t1 && cni ADD t1 trunk", succeeds},
	{"add_t2", "ip netns add t2 && cni ADD t2 native", succeeds},
	{"add_t3", "ip netns add t3 && cni ADD t3 access101", succeeds},
	{"trunk", "bridge -compressvlans -json vlan show dev $(port t1)", portVLANs("1 pvid untagged", "101", "200-202")},
	{"trunk_with_native_vlan", "bridge -json vlan show dev $(port t2)", portVLANs("100 pvid untagged", "101")},
	{"tagged_frames_arrive", `inside t1 ip link add link eth0 name tagged type vlan id 101 &&
		inside t1 ip address add 10.3.0.101/24 dev tagged && inside t1 ip link set tagged up &&
		inside t1 ip route add 10.3.0.4/32 dev tagged src 10.3.0.101 && inside t1 ping -c1 -W60 10.3.0.4`, succeeds},
	{"untagged_frames_do_not", "inside t1 ip route delete 10.3.0.4/32 && inside t1 ping -c1 -W1 10.3.0.4", hearsNothing},
}

// uplinked: the link that leads out of the bridge is in the VLANs of the containers, tagged. As far
// as it's in them already it stays as it is.
var uplinked = []step{
	{"add_u1", "ip netns add u1 && ip link add leads-out type veth peer name far && cni ADD u1 uplinked", succeeds},
	{"uplink", "bridge -compressvlans -json vlan show dev leads-out", portVLANs("1 pvid untagged", "100-101", "200-202")},
	{"groups", `ip -details link show uplinked | grep -o "group_fwd_mask 0x[0-9a-f]*"`, prints("group_fwd_mask 0x4000")},
	{"tagged_frames_leave", `ip link set far up && ip link add link far name far.100 type vlan id 100 &&
		ip address add 10.7.0.9/24 dev far.100 && ip link set far.100 up && inside u1 ping -c1 -W60 10.7.0.9`, succeeds},
	{"native", `bridge vlan del dev leads-out vid 201 && bridge vlan add dev leads-out vid 100 pvid untagged && ip netns add u2 &&
		cni ADD u2 uplinked`, succeeds},
	{"uplink_as_it_was", "bridge -compressvlans -json vlan show dev leads-out", portVLANs("1 untagged", "100 pvid untagged", "101", "200-202")},
	{"del_u1", "cni DEL u1 uplinked && cni DEL u2 uplinked && ip -oneline link show master uplinked | wc -l", prints("1")},
	{"far_goes", "ip link del leads-out", succeeds},
}

// asked: an IPAM plugin of its own is run when the port is in its VLAN and forwards, and before the
// VLAN has its gateway.
var asked = []step{
	{"add_s1", "ip netns add s1 && cni ADD s1 asked", hasVLANGateway},
	{"asked_in_the_vlan", "cat /run/asked.vlans", portVLANs("100 pvid untagged")},
	{"asked_when_it_forwards", "cat /run/asked.state", prints("state forwarding")},
	{"asked_reaches_the_gateway", "inside s1 ping -c1 -W60 10.4.0.1", succeeds},
	{"del_s1", "cni DEL s1 asked", prints("")},
}

// vlanGateway: the gateway's address is on a link of the VLAN, not on the bridge.
var vlanGateway = []step{
	{"add_g1", "ip netns add g1 && cni ADD g1 gateway", hasVLANGateway},
	{"add_g2", "ip netns add g2 && cni ADD g2 gateway", hasVLANGateway},
	{"gateway_address", "ip -4 -oneline address show gw.100 | grep -o 'inet [^ ]*'", prints("inet 10.4.0.1/24")},
	{"none_on_the_bridge", "ip -4 -oneline address show gw", prints("")},
	{"three_ports", "ip -oneline link show master gw | wc -l", prints("3")},
	{"reaches_the_gateway", "inside g1 ping -c1 -W60 10.4.0.1", succeeds},
	{"reaches_its_neighbour", "inside g1 ping -c1 -W60 10.4.0.3", succeeds},
}

// masquerade: the outside has no route to the container, so it answers only the host's own address.
var masquerade = []step{
	{"outside", `ip netns add out && ip link add uplink type veth peer name lan netns out &&
		ip address add 192.0.2.2/24 dev uplink && ip link set uplink up &&
		inside out ip address add 192.0.2.1/24 dev lan && inside out ip link set lan up`, succeeds},
	{"add_m1", "ip netns add m1 && cni ADD m1 masquerade", succeeds},
	{"add_m2", "ip netns add m2 && cni ADD m2 masquerade", succeeds},
	{"outside_knows_no_way_back", "inside out ip route get 10.6.0.2", fails},
	{"outside_answers", "inside m1 ping -c1 -W60 192.0.2.1", succeeds},
	{"neighbour_answers", "inside m1 ping -c1 -W60 10.6.0.3", succeeds},
	{"element_names_its_owner", "nft list ruleset 2>/dev/null | grep -o '10.6.0.2 comment[^:]*m1/eth0'", succeeds},
	{"del_m1", "cni DEL m1 masquerade", prints("")},
	{"del_m2_without_namespace", "ip netns delete m2; cni DEL m2 masquerade", prints("")},
	{"no_element_left", `nft list ruleset 2>/dev/null | grep '10\.6\.0\.[0-9]*[^0-9/]'`, prints0},
}

// ends: after DEL, with and without a namespace, no port and no lease is left.
var ends = []step{
	{"del", `for c in "a1 access" "a2 access" "a3 access200" "t1 trunk" "t2 native" "t3 access101" "g1 gateway"; do
		cni DEL $c || exit; done`, succeeds},
	{"del_without_namespace", "ip netns delete a4; cni DEL a4 preserved && ip netns delete g2; cni DEL g2 gateway", succeeds},
	{"no_port_left", "for b in access kept trunk gw masq; do ip -oneline link show master $b; done | grep -v gw.100", prints0},
	{"no_lease_left", "find /run/leases -name '10.*'", prints("")},
}

// prints0 is the check of a grep that shall find nothing.
func prints0(t *testing.T, r Result) {
	t.Helper()
	if r.Output != "" || r.Exit != 1 {
		t.Errorf("exit status %d", r.Exit)
	}
}

func prefix(want string) func(t *testing.T, r Result) {
	return func(t *testing.T, r Result) {
		t.Helper()
		if !strings.HasPrefix(r.Output, want) {
			t.Errorf("got %q, want %s…", r.Output, want)
		}
	}
}

// hearsNothing is the check of a ping that's sent and not answered.
func hearsNothing(t *testing.T, r Result) {
	t.Helper()
	if r.Exit != 1 || !strings.Contains(r.Output, "1 packets transmitted, 0 ") {
		t.Errorf("exit status %d", r.Exit)
	}
}

// passes is the check of a test binary's verbose output: some tests ran, none failed and none was
// skipped.
func passes(t *testing.T, r Result) {
	t.Helper()
	succeeds(t, r)
	passed := len(regexp.MustCompile(`(?m)^--- PASS`).FindAllString(r.Output, -1))
	t.Logf("%d tests passed", passed)
	if passed == 0 {
		t.Error("no test ran")
	}
	for _, word := range []string{"--- FAIL", "--- SKIP"} {
		if strings.Contains(r.Output, word) {
			t.Error("the output has " + word)
		}
	}
}

// hasVLANGateway is the check of an ADD with a VLAN gateway: the result names it as the fourth
// link.
func hasVLANGateway(t *testing.T, r Result) {
	t.Helper()
	succeeds(t, r)
	var result struct {
		Interfaces []struct{ Name, Sandbox string }
		IPs        []struct{ Gateway string }
	}
	if err := json.Unmarshal([]byte(r.Output), &result); err != nil {
		t.Fatal(err)
	}
	if len(result.Interfaces) != 4 || result.Interfaces[3].Name != "gw.100" || result.Interfaces[2].Sandbox == "" {
		t.Errorf("links %v, want bridge, host end, container and gw.100", result.Interfaces)
	}
	if len(result.IPs) != 1 || result.IPs[0].Gateway != "10.4.0.1" {
		t.Errorf("addresses %v", result.IPs)
	}
}

// packageTests builds the tests of a package and returns the guest's files with them:
// /mnt/bin/NAME.test, and the package's directory in /mnt.
func packageTests(t *testing.T, arch Arch, name string) map[string]string {
	t.Helper()
	binary := filepath.Base(name) + ".test"
	program := filepath.Join(t.TempDir(), binary)
	goTool(t, arch, ".", "test", "-c", "-o", program, "./"+name)
	return map[string]string{"bin/" + binary: program, name: "../../../" + name}
}
