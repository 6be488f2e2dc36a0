// SPDX-License-Identifier: Apache-2.0

//go:build worlds

package kernels

import (
	"io"
	"os/exec"
	"path/filepath"
	"slices"
	"testing"

	"github.com/swiftcni/swiftcni/cni"
	"github.com/swiftcni/swiftcni/internal/tool/build"
)

// Plugins run in a container runtime's domain, which may do what testdata/policy.conf says and
// nothing else.
func TestSELinux(t *testing.T) {
	t.Parallel()
	files := plugin(t)
	for _, name := range cni.PluginNames() {
		files["plugins/"+name] = files["plugins/bridge"]
	}
	theirs, err := build.ReferencePlugins(io.Discard, "../../..", build.ReferenceVersion, "main/tap")
	if err != nil {
		t.Fatal(err)
	}
	files["ours/tap"], files["reference/tap"] = files["plugins/bridge"], filepath.Join(theirs, "tap")
	if files["bin/cnitool"], err = build.Cnitool(io.Discard, "../../.."); err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	files["bin/swiftctl"], files["bin/label"], files["policy"] = filepath.Join(dir, "swiftctl"), filepath.Join(dir, "label"), filepath.Join(dir, "policy")
	goTool(t, AMD64, "cmd/swiftctl", "build", "-ldflags", AMD64.begins("entry"), "-o", files["bin/swiftctl"], ".")
	goTool(t, AMD64, ".", "build", "-o", files["bin/label"], "./internal/test/kernels/label")
	if out, err := exec.Command("checkpolicy", "-U", "allow", "-o", files["policy"], "testdata/policy.conf").CombinedOutput(); err != nil {
		t.Fatalf("checkpolicy: %v\n%s", err, out)
	}
	for _, name := range []string{"as", "denied", "device", "enforce", "inside", "labels", "opens", "served", "tapped", "tool"} {
		files["bin/"+name] = filepath.Join("testdata", name)
	}
	files["lists"] = "testdata/lists"
	boot(t, func(cache string) (*Kernel, error) {
		kernel, err := Bookworm.Kernel(cache)
		if err != nil {
			return nil, err
		}
		return kernel.With("security=selinux selinux=1 log_buf_len=4M"), nil
	}, files, slices.Concat(labelled, labelledTaps, confined, labelledPlugins))
}

// labelled: the policy is in force, and files have the labels that a distribution's would give them.
var labelled = []step{
	{"labelled", `modprobe tun && enforce && mkdir -p -m 700 /var/lib/cni /run/swiftcni /run/opt && ip link set lo up && ip netns add c1 && ip netns add c2 &&
		label -t tun_t /dev/net/tun && label -t state_t /var/lib/cni && label -t run_t /run /run/netns /run/swiftcni && label -t plugin_t /mnt/plugins /mnt/plugins/*`, prints("")},
	{"enforced", "cat /sys/fs/selinux/enforce && denied", prints("1")},
}

// labelledTaps: who opens a tap is asked whether it may relabel the tap's context, so that shows
// which one it has.
var labelledTaps = []step{
	{"tap", "as runtime_t tapped ours ADD c1 && opens container_t c1", refuses("TUNSETIFF): Permission denied")},
	{"tap_is_its_makers", "denied", prints("container_t runtime_t:tun_socket relabelfrom")},
	{"tap_del", "as runtime_t tapped ours DEL c1 && ip -netns c1 -brief link | cut -d' ' -f1", prints("lo")},

	{"tap_with_context", "as runtime_t tapped ours ADD c1 container_t && opens container_t c1", tells(`"name": "eth0"`)},
	{"tap_was_opened", "as runtime_t tapped ours DEL c1; denied; ip -netns c1 -brief link | cut -d' ' -f1", prints("lo")},
	{"tap_of_the_reference", "as runtime_t tapped reference ADD c1 container_t && opens container_t c1", tells(`"name": "eth0"`)},
	{"tap_of_the_reference_was_opened", "as runtime_t tapped ours DEL c1; denied; ip -netns c1 -brief link | cut -d' ' -f1", prints("lo")},

	{"tap_with_another_context", "as runtime_t tapped ours ADD c1 stranger_t", refuses(`"msg": "failed set socket label: write /proc/self/attr/current: permission denied"`)},
	{"tap_where_none_can_be_made", "as runtime_t tapped ours ADD c1 idle_t", refuses("create tap eth0: permission denied (in the security context system_u:system_r:idle_t)")},
	{"tap_with_no_context_of_the_policy", "as runtime_t tapped ours ADD c1 nobody_t", refuses("failed set socket label: write /proc/self/attr/current: invalid argument")},
	{"tap_denials", "denied", prints("idle_t idle_t:tun_socket create\nruntime_t stranger_t:process dyntransition")},
	{"tap_leaves_nothing", "ip -netns c1 -brief link | cut -d' ' -f1; find /var/lib/cni/networks/tapped -name '10.7*'", prints("lo")},
	{"tap_del_of_nothing", "as runtime_t tapped ours DEL c1 stranger_t; denied", prints("")},
}

// confined: a runtime's usual list, ADD to GC, and residents in domains of their own.
var confined = []step{
	{"list_add", "for c in c1 c2; do as runtime_t tool add whole $c || exit; done", succeeds},
	{"list_reaches", "for a in 10.8.0.1 10.8.0.3 fd00:8::3; do inside c1 ping -c1 -W60 $a || exit; done", succeeds},
	{"list_check", "as runtime_t tool check whole c1 && as runtime_t tool check whole c2", prints("")},
	{"list_del", "as runtime_t tool del whole c1 && as runtime_t tool del whole c1", prints("")},
	{"list_loses_one", `rm -r /var/lib/cni/results; ip netns delete c2
		for i in $(seq 6000); do ip -brief link show master whole | grep -q . || exit 0; busybox sleep 0.1; done; exit 1`, succeeds},
	{"list_gc", "as runtime_t tool gc whole c1", prints("")},
	{"list_leaves_nothing", "ip -brief link show type ifb | grep bwp; nft list ruleset 2>/dev/null | grep -E '10\\.8\\.0\\.[2-9]'; find /var/lib/cni/networks/whole -name '10.8*'", prints("")},
	{"list_labels", "find /var/lib/cni /run/cni -exec label {} ';' | cut -d' ' -f2 | sort | uniq", prints("run_t\nstate_t")},
	{"list_denials", "denied", prints("")},

	{"resident", "served resident_t", prints("container_t resident_t:tun_socket relabelfrom")},
	{"resident_that_may_not_use_descriptors", "served closed_t", prints("closed_t runtime_t:fd use\ncontainer_t runtime_t:tun_socket relabelfrom")},
	{"resident_that_is_out_of_reach", "served hidden_t", prints("container_t runtime_t:tun_socket relabelfrom\nruntime_t hidden_t:unix_stream_socket connectto")},
}

// labelledPlugins: which labels swiftctl install gives.
var labelledPlugins = []step{
	{"others_plugins", "cd /run/opt && echo > ptp && echo > tuning && label -t dir_t . && label -t plugin_t ptp && label -t other_t tuning; denied", prints("")},
	{"refused_install", "as unskilled_t swiftctl install --force --binary /mnt/plugins/bridge /run/opt", refuses("swiftctl install: label /run/opt/.swiftcni.new: permission denied")},
	{"refused_install_changes_nothing", "labels; denied", prints("ptp plugin_t tuning other_t\nunskilled_t dir_t:file relabelfrom")},
	{"install", "as installer_t swiftctl install --force --binary /mnt/plugins/bridge /run/opt", succeeds},
	{"installed_labels", "labels bridge ptp ptp.reference swiftcni tuning tuning.reference; denied",
		prints("bridge dir_t ptp plugin_t ptp.reference plugin_t swiftcni plugin_t tuning other_t tuning.reference other_t")},
	{"link_runs", "as runtime_t tapped opt ADD c1 && as runtime_t tapped opt DEL c1; denied", tells(`"name": "eth0"`)},
	{"upgrade", "label -t other_t /run/opt/swiftcni && echo >> /run/opt/swiftcni && as installer_t swiftctl install --binary /mnt/plugins/bridge /run/opt | grep installed && labels swiftcni; denied", tells("swiftcni other_t")},
	{"uninstall", "as installer_t swiftctl install --uninstall /run/opt >/dev/null && labels; denied", prints("ptp plugin_t tuning other_t")},
	{"copies", "as installer_t swiftctl install --copy --force --binary /mnt/plugins/bridge /run/opt >/dev/null && labels bridge ptp swiftcni tuning.reference; denied",
		prints("bridge plugin_t ptp plugin_t swiftcni plugin_t tuning.reference other_t")},
	{"copy_runs", "as runtime_t tapped opt ADD c1 && as runtime_t tapped opt DEL c1; denied", tells(`"name": "eth0"`)},
	{"nothing_to_replace", "rm -r /run/opt/* && as unskilled_t swiftctl install --binary /mnt/plugins/bridge /run/opt >/dev/null && labels bridge swiftcni; denied", prints("bridge dir_t swiftcni dir_t")},
}
