// SPDX-License-Identifier: Apache-2.0

package cni

import (
	"runtime/debug"
	"slices"
	"strings"
	"testing"

	"github.com/swiftcni/swiftcni/internal/specversion"
	"github.com/swiftcni/swiftcni/internal/test/semver"
)

// Whatever git or go call the build, the first line holds nothing but a semantic version that's at least what nerdctl (1.7.1)
// and Nomad (0.4.0) ask for.
func TestAboutHasASemanticVersion(t *testing.T) {
	for _, own := range []string{"", "v0.1.0", "0.1.0", "v0.1.0-3-g5160d4d", "v0.1.0-3-g5160d4d-dirty", "5160d4d", "5160d4d-dirty", "unknown",
		"v0.0.0-20261128104715-5160d4d2a042+dirty", "v0.0.0-20261128104715-5160d4d2a042", "v1..2", "release/2 äß", "+", "v"} {
		v := referenceVersion + "+swiftcni." + buildPart(own)
		if !semver.AtLeast(v, 1, 7, 1) || strings.ContainsAny(v, " \n") {
			t.Errorf("%q makes %q", own, v)
		}
	}
	if got := buildPart("v0.1.0-3-g5160d4d-dirty"); got != "0.1.0-3-g5160d4d-dirty" {
		t.Error(got)
	}
	for i := range plugins {
		p := &plugins[i]
		var b strings.Builder
		about(p.name, &b)
		line, rest, _ := strings.Cut(b.String(), "\n")
		v, ok := strings.CutPrefix(line, "CNI "+p.name+" plugin ")
		if !ok || !semver.Valid(v) || semver.Build(v) == "" {
			t.Errorf("%s: %q", p.name, line)
		}
		if want := "CNI protocol versions supported: " + strings.Join(p.versions(), ", ") + "\n"; rest != want {
			t.Errorf("%s: %q", p.name, rest)
		}
		// Nomad takes the first word of all that's printed that is a version.
		words := strings.Fields(b.String())
		if i := slices.IndexFunc(words, func(w string) bool { return semver.Valid("v" + strings.TrimPrefix(w, "v")) }); i < 0 || words[i] != v {
			t.Errorf("%s: %q", p.name, words)
		}
	}
}

func TestOwnVersion(t *testing.T) {
	commit := []debug.BuildSetting{{Key: "vcs.revision", Value: "5160d4d2a0423340ff9b5fc95d50da75291cf5d2"}}
	for _, tt := range []struct {
		name, linked string
		info         *debug.BuildInfo
		want         string
	}{
		{"linked in", "v0.2.0", &debug.BuildInfo{Main: debug.Module{Path: modulePath, Version: "v0.1.0"}}, "v0.2.0"},
		{"go install", "", &debug.BuildInfo{Main: debug.Module{Path: modulePath, Version: "v0.1.0"}}, "v0.1.0"},
		{"go build in a clone", "", &debug.BuildInfo{Main: debug.Module{Path: modulePath, Version: "v0.0.0-20261128104715-5160d4d2a042+dirty"}},
			"v0.0.0-20261128104715-5160d4d2a042+dirty"},
		{"go build of an older go", "", &debug.BuildInfo{Main: debug.Module{Path: modulePath, Version: "(devel)"}, Settings: commit}, "5160d4d2a042"},
		{"go build of an archive", "", &debug.BuildInfo{Main: debug.Module{Path: modulePath, Version: "(devel)"}}, ""},
		{"part of another program", "", &debug.BuildInfo{Main: debug.Module{Path: "example.org/x", Version: "v3.0.0"},
			Deps: []*debug.Module{{Path: modulePath, Version: "v0.1.0"}}, Settings: commit}, "v0.1.0"},
		{"a module below", "", &debug.BuildInfo{Main: debug.Module{Path: modulePath + "/cmd/swiftctl", Version: "v0.1.1"},
			Deps: []*debug.Module{{Path: modulePath, Version: "v0.0.0"}}, Settings: commit}, "v0.1.1"},
		{"no build information", "", nil, ""},
	} {
		if got := ownVersion(tt.linked, tt.info); got != tt.want {
			t.Errorf("%s: got %q, want %q", tt.name, got, tt.want)
		}
	}
}

// VERSION and the second line list what the reference's plugin of that name lists.
func TestVersionsOfEachPlugin(t *testing.T) {
	for i := range plugins {
		p := &plugins[i]
		first := "0.1.0"
		switch p.name {
		case "firewall":
			first = "0.4.0"
		case "bandwidth":
			first = "0.3.0"
		case "vrf":
			first = "0.3.1"
		}
		list := p.versions()
		if list[0] != first || list[len(list)-1] != specversion.Newest {
			t.Errorf("%s: %v", p.name, list)
		}
		env := map[string]string{"CNI_COMMAND": "VERSION"}
		var out, stderr strings.Builder
		if Main(p.name, func(key string) string { return env[key] }, strings.NewReader(""), &out, &stderr) != 0 ||
			out.String() != `{"cniVersion":"1.1.0","supportedVersions":["`+strings.Join(list, `","`)+`"]}`+"\n" {
			t.Errorf("%s: %s%s", p.name, out.String(), stderr.String())
		}
	}
}
