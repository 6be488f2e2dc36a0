// SPDX-License-Identifier: Apache-2.0

// Package conformance runs the test suites of the reference plugins against executables.
//
// The suites call the plugins' functions. A copy of the reference's module, made for the run alone,
// has them call an executable under the plugin's name instead, so that the same specs judge the
// reference's own programs and swiftcni. Specs that the reference passes that way, and swiftcni
// doesn't, must be listed in docs/differences.md.
package conformance

// A Suite is one package of the reference's tests.
type Suite struct {
	Plugin string
	Dir    string // of the package, in the reference's module
	// Guest says that the suite runs on a kernel that is booted for it, since it makes links that a
	// machine's own kernel may lack.
	Guest bool
	// Moves says that the specs move their dummies to other namespaces, which not all links can be.
	Moves bool
}

// Suites returns those of the plugins that swiftcni has: all but those for Windows.
func Suites() []Suite {
	return []Suite{
		{Plugin: "bridge", Dir: "plugins/main/bridge"},
		{Plugin: "firewall", Dir: "plugins/meta/firewall"},
		{Plugin: "portmap", Dir: "plugins/meta/portmap"},
		{Plugin: "host-local", Dir: "plugins/ipam/host-local"},
		{Plugin: "static", Dir: "plugins/ipam/static"},
		{Plugin: "dhcp", Dir: "plugins/ipam/dhcp"},
		{Plugin: "loopback", Dir: "plugins/main/loopback"},
		{Plugin: "ptp", Dir: "plugins/main/ptp"},
		{Plugin: "macvlan", Dir: "plugins/main/macvlan"},
		{Plugin: "ipvlan", Dir: "plugins/main/ipvlan", Guest: true},
		{Plugin: "vlan", Dir: "plugins/main/vlan", Guest: true},
		{Plugin: "dummy", Dir: "plugins/main/dummy", Guest: true},
		{Plugin: "tap", Dir: "plugins/main/tap"},
		{Plugin: "host-device", Dir: "plugins/main/host-device", Moves: true},
		{Plugin: "bandwidth", Dir: "plugins/meta/bandwidth"},
		{Plugin: "sbr", Dir: "plugins/meta/sbr"},
		{Plugin: "tuning", Dir: "plugins/meta/tuning"},
		{Plugin: "vrf", Dir: "plugins/meta/vrf", Guest: true},
	}
}

// A Spec is a spec of a suite, after its run.
type Spec struct {
	Name    string // FILE:LINE, its version in brackets, and #N among several
	Text    string // the suite's name for it
	Passed  bool
	Alone   bool   // it ran no plugin, only functions of the reference's that the suite has in itself
	Message string // why it failed
}
