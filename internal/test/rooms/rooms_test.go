// SPDX-License-Identifier: Apache-2.0

// Package rooms holds which package may import which. A package that's new gets its place here, as low as it can be.
package rooms

import (
	"go/build"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

const (
	root   = "../../.."
	module = "github.com/swiftcni/swiftcni/"
)

// floors are the packages that the programs are made of. One imports those of the floors below it alone: none of its own
// floor, so that no plugin knows of another.
var floors = [][]string{
	{"internal/inside", "internal/offload", "internal/flock", "internal/facts", "internal/order", "internal/sha512", "internal/dbus", "internal/calls", "internal/stats", "cmd/swiftctl/internal/bars", // the ground
		"internal/entry", "internal/stack", "internal/jsontext", "internal/pattern", "internal/specversion", "internal/undo", "internal/roster"},
	{"internal/nlsock", "internal/handover"},
	{"rtnl", "nft", "ipam", "internal/conntrack", "internal/wire"},
	{"cni/spec", "internal/sockets", "cmd/swiftctl/internal/dhcp", "cmd/swiftctl/internal/box"},
	{"internal/process"},
	{"internal/fault", "internal/result", "internal/flows"},
	{"internal/names", "internal/netns", "internal/sysctl", "internal/firewalld"},
	{"internal/hostid", "internal/rules", "internal/verbs", "internal/netconf"},
	{"internal/proof", "internal/hostlocal", "internal/static", "internal/dhcp", "internal/delegate", "internal/endpoint"}, // the first, and plugins that give addresses
	{"internal/addresses"},
	{"internal/loopback", "internal/sbr", "internal/bandwidth", "internal/tuning", "internal/firewall", "internal/portmap", "internal/veth", "internal/device", "internal/hostdevice", "internal/vrf"}, // the other plugins
	{"cni"}, // the door
	{"internal/netavark", "cmd/swiftctl/internal/caller"},
	{"internal/resident"},
	{"cni/inprocess", "cmd/swiftcni", "cmd/swiftctl", "cmd/swiftcni-exporter"},
}

// floorOf returns a package's floor, or -1.
func floorOf(pkg string) int {
	return slices.IndexFunc(floors, func(floor []string) bool { return slices.Contains(floor, pkg) })
}

func TestImportsGoDown(t *testing.T) {
	seen := 0
	for floor, pkgs := range floors {
		for _, pkg := range pkgs {
			for _, imported := range imports(t, pkg) {
				seen++
				switch at := floorOf(imported); {
				case at < 0:
					t.Errorf("%s imports %s, which is on no floor: add it to the list", pkg, imported)
				case at >= floor:
					t.Errorf("%s, on floor %d, imports %s on floor %d", pkg, floor, imported, at)
				}
			}
		}
	}
	if seen < 50 {
		t.Errorf("only %d imports seen", seen)
	}
}

// imports returns the packages of this module that a package imports, its tests aside.
func imports(t *testing.T, pkg string) (list []string) {
	t.Helper()
	for _, arch := range []string{"amd64", "arm64"} {
		ctx := build.Default
		ctx.GOOS, ctx.GOARCH = "linux", arch
		p, err := ctx.ImportDir(filepath.Join(root, pkg), 0)
		if err != nil {
			t.Fatal(err)
		}
		for _, path := range p.Imports {
			if inner, ours := strings.CutPrefix(path, module); ours && !slices.Contains(list, inner) {
				list = append(list, inner)
			}
		}
	}
	return list
}
