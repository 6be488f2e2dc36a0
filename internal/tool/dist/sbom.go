// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bytes"
	"crypto/sha256"
	"fmt"
	"regexp"
	"runtime/debug"
	"strings"
	"time"

	spdxjson "github.com/spdx/tools-golang/json"
	"github.com/spdx/tools-golang/spdx/v2/common"
	spdx "github.com/spdx/tools-golang/spdx/v2/v2_3"
)

// bill writes what an architecture's programs are made of, as they say themselves: an SBOM by SPDX 2.3.
func (r *release) bill(b *built) error {
	name := "swiftcni-linux-" + b.target.name + "-" + r.version + ".spdx.json"
	doc := &spdx.Document{
		SPDXVersion: spdx.Version, DataLicense: spdx.DataLicense, SPDXIdentifier: "DOCUMENT", DocumentName: strings.TrimSuffix(name, ".spdx.json"),
		DocumentNamespace: "https://github.com/swiftcni/swiftcni/spdx/" + r.version + "/" + b.target.name,
		CreationInfo: &spdx.CreationInfo{Created: r.made.Format(time.RFC3339),
			Creators: []common.Creator{{CreatorType: "Organization", Creator: "swiftcni"}, {CreatorType: "Tool", Creator: "swiftcni-dist-" + r.version}}},
	}
	known := map[common.ElementID]bool{}
	for _, program := range programNames {
		p := r.programPackage(b, program)
		doc.Packages = append(doc.Packages, p)
		relate(doc, "DOCUMENT", p.PackageSPDXIdentifier, common.TypeRelationshipDescribe)
		parts := []*spdx.Package{modulePackage("stdlib", strings.TrimPrefix(b.info[program].GoVersion, "go"), "")}
		for _, m := range foreign(b.info[program].Deps) {
			parts = append(parts, modulePackage(m.Path, m.Version, m.Sum))
		}
		for _, m := range parts {
			if !known[m.PackageSPDXIdentifier] {
				known[m.PackageSPDXIdentifier] = true
				doc.Packages = append(doc.Packages, m)
			}
			relate(doc, p.PackageSPDXIdentifier, m.PackageSPDXIdentifier, common.TypeRelationshipContains)
		}
	}
	var text bytes.Buffer
	if err := spdxjson.Write(doc, &text, spdxjson.Indent("  ")); err != nil {
		return err
	}
	return r.put(name, text.Bytes())
}

func relate(doc *spdx.Document, from, to common.ElementID, how string) {
	doc.Relationships = append(doc.Relationships,
		&spdx.Relationship{RefA: common.MakeDocElementID("", string(from)), RefB: common.MakeDocElementID("", string(to)), Relationship: how})
}

// programPackage is one of ours.
func (r *release) programPackage(b *built, name string) *spdx.Package {
	p := newPackage(name, r.version, b.info[name].Main.Path, r.version)
	p.PackageFileName, p.PrimaryPackagePurpose = name, "APPLICATION"
	p.PackageChecksums = []common.Checksum{{Algorithm: common.SHA256, Value: fmt.Sprintf("%x", sha256.Sum256(b.data[name]))}}
	p.PackageLicenseConcluded, p.PackageLicenseDeclared = "Apache-2.0", "Apache-2.0"
	p.PackageComment = "built for linux/" + b.target.name + settings(b.info[name].Settings)
	return p
}

// settings are those with which a program was built.
func settings(list []debug.BuildSetting) string {
	var b strings.Builder
	for _, s := range list {
		b.WriteString(", " + s.Key + "=" + s.Value)
	}
	return b.String()
}

// modulePackage is a module of others'. Its sum is Go's, over its files, so it's no checksum of SPDX's.
func modulePackage(path, version, sum string) *spdx.Package {
	p := newPackage(path, version, path, version)
	p.PrimaryPackagePurpose = "LIBRARY"
	if sum != "" {
		p.PackageComment = "go.sum: " + sum
	}
	return p
}

var notInID = regexp.MustCompile(`[^a-zA-Z0-9.-]+`)

func newPackage(name, version, path, pathVersion string) *spdx.Package {
	const none = "NOASSERTION"
	return &spdx.Package{
		PackageName: name, PackageVersion: version, PackageSPDXIdentifier: common.ElementID(notInID.ReplaceAllString(name+"-"+version, "-")),
		PackageDownloadLocation: none, PackageLicenseConcluded: none, PackageLicenseDeclared: none, PackageCopyrightText: none,
		PackageExternalReferences: []*spdx.PackageExternalReference{{Category: common.CategoryPackageManager, RefType: common.TypePackageManagerPURL,
			Locator: "pkg:golang/" + path + "@" + strings.ReplaceAll(pathVersion, "+", "%2B")}},
	}
}
