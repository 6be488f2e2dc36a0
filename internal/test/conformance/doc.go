// SPDX-License-Identifier: Apache-2.0

// Package conformance runs the test suites of the reference plugins against executables.
//
// The suites call the plugins' functions. A copy of the reference's module, made for the run alone, has them call an
// executable under the plugin's name instead, so that the same specs judge the reference's own programs and swiftcni.
// What the reference passes that way, and swiftcni doesn't, must stand in docs/differences.md.
package conformance

// A Suite is one package of the reference's tests.
type Suite struct {
	Plugin string
	Dir    string // of the package, in the reference's module
}

// Suites returns those of the plugins that swiftcni has.
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
	}
}

// A Spec is one of a suite's, after its run.
type Spec struct {
	Name    string // where it stands: FILE:LINE, the version in brackets that it's for, and #N among several
	Text    string // as the suite calls it
	Passed  bool
	Message string // why it failed
}
