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
}

// Suites returns those of the plugins that swiftcni has, but for dhcp's, and for those that need
// links which few machines of tests can make: macvlan, ipvlan, vlan, dummy, vrf, and host-device,
// whose specs move dummies.
func Suites() []Suite {
	return []Suite{
		{"bridge", "plugins/main/bridge"},
		{"firewall", "plugins/meta/firewall"},
		{"portmap", "plugins/meta/portmap"},
		{"host-local", "plugins/ipam/host-local"},
		{"static", "plugins/ipam/static"},
		{"loopback", "plugins/main/loopback"},
		{"ptp", "plugins/main/ptp"},
		{"bandwidth", "plugins/meta/bandwidth"},
		{"sbr", "plugins/meta/sbr"},
		{"tuning", "plugins/meta/tuning"},
		{"tap", "plugins/main/tap"},
	}
}

// A Spec is a spec of a suite, after its run.
type Spec struct {
	Name    string // FILE:LINE, its version in brackets, and #N among several
	Text    string // the suite's name for it
	Passed  bool
	Message string // why it failed
}
