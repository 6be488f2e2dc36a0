// SPDX-License-Identifier: Apache-2.0

package kernels

import (
	"io"
	"maps"
	"slices"
	"testing"

	"github.com/swiftcni/swiftcni/cni"
	"github.com/swiftcni/swiftcni/internal/tool/build"
)

// The plugins whose kinds of links the machine's kernel may lack.
func TestKinds(t *testing.T) {
	t.Parallel()
	runsKinds(t, Bookworm)
}

func runsKinds(t *testing.T, release Release) {
	t.Helper()
	files := plugin(t)
	maps.Copy(files, packageTests(t, AMD64, "rtnl"))
	files["bin/inside"], files["bin/tool"], files["lists"] = "testdata/inside", "testdata/tool", "testdata/lists"
	for _, name := range cni.PluginNames() {
		files["plugins/"+name] = files["plugins/bridge"]
	}
	var err error
	if files["bin/cnitool"], err = build.Cnitool(io.Discard, "../../.."); err != nil {
		t.Fatal(err)
	}
	addVRF(t, files)
	steps := []step{{"rtnl", "modprobe tun && cd rtnl && rtnl.test -test.v -test.timeout 0 -test.run 'TestMacvlan|TestIPVLAN|TestVLAN$|TestVRF|TestAltName|TestCreateTap|TestDefaultLink|TestGolden/macvlan'", passes}}
	for _, kind := range []string{"macvlan", "ipvlan", "vlan", "vrf"} {
		steps = append(steps, step{"has_" + kind, "ip link add parent type veth peer name far; ip link add k0 link parent type " + kind +
			map[string]string{"vlan": " id 7", "vrf": " table 7"}[kind] + "; s=$?; ip link delete parent; ip link delete k0 2>/dev/null; exit $s", succeeds})
	}
	boot(t, release.Kernel, files, slices.Concat(steps, vrfs))
}
