// SPDX-License-Identifier: Apache-2.0

package cni

import (
	"io"
	"runtime/debug"
	"strings"

	"github.com/swiftcni/swiftcni/internal/roster"
	"github.com/swiftcni/swiftcni/internal/specversion"
)

// linkedVersion is set when the program is linked, to what internal/tool/version.sh says.
var linkedVersion string

// sourceVersion is empty in a clone. A release's source archive has its version here, for builds with other flags.
const sourceVersion = ""

// referenceVersion is the release of the reference plugins that these equal.
const referenceVersion = "v1.10.0"

const modulePath = "github.com/swiftcni/swiftcni"

// about tells who runs the program without a verb what it is. Other programs read the first line as the reference prints it:
// nerdctl takes all that follows "plugin " for a semantic version, Nomad the first word that is one, and both ask for at
// least some release of the reference. So the number is the reference's, and ours is its build part.
func about(name string, stderr io.Writer) {
	p := findPlugin(name)
	text := "CNI " + name + " plugin " + referenceVersion + "+swiftcni." + buildPart(Version()) + "\n" +
		"CNI protocol versions supported: " + strings.Join(p.versions(), ", ") + "\n"
	if p == nil {
		text += "Plugins in this binary: " + strings.Join(roster.Names(), ", ") + " (link it under these names, or see swiftctl install)\n"
	}
	_, _ = io.WriteString(stderr, text)
}

// Version returns the program's version: what was linked in, else the source archive's, else the version of this module in
// the build, else the commit that it was built from. It's empty if nothing is known.
func Version() string {
	linked := linkedVersion
	if linked == "" {
		linked = sourceVersion
	}
	info, _ := debug.ReadBuildInfo()
	return ownVersion(linked, info)
}

func ownVersion(linked string, info *debug.BuildInfo) string {
	switch {
	case linked != "":
		return linked
	case info == nil:
		return ""
	case info.Main.Path != modulePath && !strings.HasPrefix(info.Main.Path, modulePath+"/"): // swiftctl's is below it
		for _, dep := range info.Deps { // in another's program
			if dep.Path == modulePath {
				return dep.Version
			}
		}
		return ""
	case info.Main.Version != "(devel)":
		return info.Main.Version
	}
	for _, s := range info.Settings {
		if s.Key == "vcs.revision" {
			return s.Value[:min(len(s.Value), 12)]
		}
	}
	return ""
}

// buildPart makes a version build metadata of a semantic version (semver.org, 10): identifiers of letters, digits and
// hyphens between dots.
func buildPart(version string) string {
	version = strings.Map(func(r rune) rune {
		switch {
		case r >= '0' && r <= '9', r >= 'a' && r <= 'z', r >= 'A' && r <= 'Z', r == '-':
			return r
		case r == '.', r == '+':
			return '.'
		}
		return '-'
	}, strings.TrimPrefix(version, "v"))
	parts := strings.FieldsFunc(version, func(r rune) bool { return r == '.' })
	if len(parts) == 0 {
		return "devel"
	}
	return strings.Join(parts, ".")
}

// versions are those of the specification that the plugin speaks; an unknown plugin's are all.
func (p *plugin) versions() (list []string) {
	for _, s := range Versions() {
		if v, _ := specversion.Parse(s); p == nil || !v.Less(p.since) {
			list = append(list, s)
		}
	}
	return list
}

// versionAnswer is one line: the newest version known, and all that the plugin speaks.
func versionAnswer(p *plugin) []byte {
	return []byte(`{"cniVersion":"` + specversion.Newest + `","supportedVersions":["` + strings.Join(p.versions(), `","`) + `"]}` + "\n")
}
