// SPDX-License-Identifier: Apache-2.0

//go:build worlds

package kernels

import (
	"maps"
	"path/filepath"
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
	linksOfTheirOwn(t, Trixie, AMD64)
}

// The tests of nft and cni pass on each kernel, too, but for one that needs firewalld and one that
// reads the repository. They take minutes in an emulator.
func TestPackagesOnEachKernel(t *testing.T) {
	for _, release := range []Release{Bullseye, Bookworm, Trixie} {
		t.Run(string(release), func(t *testing.T) {
			t.Parallel()
			packagesOn(t, release, AMD64, "nft", "cni")
		})
	}
}

func packagesOn(t *testing.T, release Release, arch Arch, names ...string) {
	t.Helper()
	files := map[string]string{"docs/keys.md": "../../../docs/keys.md"} // a test attaches what's documented
	// Some of nft's tests look at what is bridged.
	steps := []step{{"bridged_packets_pass_the_rules", "modprobe br_netfilter && modprobe tun", succeeds}}
	for _, name := range names {
		maps.Copy(files, packageTests(t, arch, name))
		steps = append(steps, step{filepath.Base(name), "cd " + name + " && " + filepath.Base(name) + ".test -test.v -test.timeout 0 -test.skip 'Firewalld|TourIsTrue'", passes})
	}
	boot(t, release.on(arch), files, steps)
}

func TestKindsOfDebian13(t *testing.T) {
	t.Parallel()
	runsKinds(t, Trixie)
}
