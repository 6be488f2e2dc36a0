// SPDX-License-Identifier: Apache-2.0

//go:build worlds

package kernels

import (
	"maps"
	"testing"
)

// Debian 11's kernel is the oldest one that's run.
func TestDebian11(t *testing.T) {
	t.Parallel()
	runsEverything(t, Bullseye, "5.10.")
}

func TestDebian13(t *testing.T) {
	t.Parallel()
	runsEverything(t, Trixie, "6.12.")
}

func TestHostDeviceOfHardwareOnEachKernel(t *testing.T) {
	for _, release := range []Release{Bullseye, Trixie} {
		t.Run(string(release), func(t *testing.T) {
			t.Parallel()
			lendsCard(t, release)
		})
	}
}

func TestLinksOfTheirOwnOnDebian13(t *testing.T) {
	t.Parallel()
	linksOfTheirOwn(t, Trixie)
}

// The tests of nft and cni pass on each kernel, too, but for one that needs firewalld and one that
// reads the repository. They take minutes in an emulator.
func TestPackagesOnEachKernel(t *testing.T) {
	for _, release := range []Release{Bullseye, Bookworm, Trixie} {
		t.Run(string(release), func(t *testing.T) {
			t.Parallel()
			files := map[string]string{"docs/keys.md": "../../../docs/keys.md"} // a test attaches what's documented
			// Some of nft's tests look at what is bridged.
			steps := []step{{"bridged_packets_pass_the_rules", "modprobe br_netfilter", succeeds}}
			for _, name := range []string{"nft", "cni"} {
				maps.Copy(files, packageTests(t, name))
				steps = append(steps, step{name, "cd " + name + " && " + name + ".test -test.v -test.timeout 0 -test.skip 'Firewalld|TourIsTrue'", passes})
			}
			boot(t, release.Kernel, files, steps)
		})
	}
}

func TestKindsOfDebian13(t *testing.T) {
	t.Parallel()
	runsKinds(t, Trixie)
}
