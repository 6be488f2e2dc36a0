// SPDX-License-Identifier: Apache-2.0

package main

import (
	"encoding/json"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"testing"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/layout"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/validate"
)

// maxImage is how many bytes one architecture's image may have.
const maxImage = 12 << 20

// TestImage unpacks the image, and runs what it says in it: it installs the plugins into a directory.
func TestImage(t *testing.T) {
	img := image(t)
	config, err := img.ConfigFile()
	if err != nil {
		t.Fatal(err)
	}
	if config.OS != "linux" || config.Architecture != runtime.GOARCH {
		t.Errorf("the image is for %s/%s", config.OS, config.Architecture)
	}
	layers, err := img.Layers()
	if err != nil || len(layers) != 1 {
		t.Fatalf("%v, %v", layers, err)
	}
	if size, err := layers[0].Size(); err != nil || size > maxImage {
		t.Errorf("the layer has %d bytes, %v", size, err)
	}
	root, archive := t.TempDir(), filepath.Join(t.TempDir(), "image.tar")
	f, err := os.Create(archive)
	if err != nil {
		t.Fatal(err)
	}
	files := mutate.Extract(img)
	if _, err := f.ReadFrom(files); err != nil {
		t.Fatal(err)
	}
	_, _ = files.Close(), f.Close()
	do(t, root, nil, "tar", "-xf", archive)
	if out := do(t, root, nil, "find", ".", "-path", "*bin/*"); len(strings.Fields(out)) != 2 {
		t.Errorf("the image has %s", out)
	}
	const enter = `mkdir proc && mount -t proc proc proc && exec chroot . "$@"`
	args := append([]string{"--mount", "sh", "-c", enter, "sh"}, config.Config.Entrypoint...)
	do(t, root, nil, "unshare", append(args, "/host/opt/cni/bin")...)
	do(t, filepath.Join(root, "host/opt/cni/bin"), []string{"CNI_COMMAND=VERSION"}, "./ptp")
}

// image is the one of this machine's architecture.
func image(t *testing.T) v1.Image {
	t.Helper()
	dir := t.TempDir()
	do(t, dir, nil, "tar", "-xf", one(t, "swiftcni-image-*.tar"))
	top, err := layout.ImageIndexFromPath(dir)
	if err != nil {
		t.Fatal(err)
	}
	if err := validate.Index(top); err != nil {
		t.Fatal(err)
	}
	index := only(t, top)
	all, err := top.ImageIndex(index.Digest)
	if err != nil || index.Annotations["org.opencontainers.image.ref.name"] != version {
		t.Fatalf("%v, %v", index.Annotations, err)
	}
	of := only(t, all)
	if of.Platform == nil || of.Platform.Architecture != runtime.GOARCH {
		t.Errorf("the index says %v", of.Platform)
	}
	img, err := all.Image(of.Digest)
	if err != nil {
		t.Fatal(err)
	}
	return img
}

func only(t *testing.T, index v1.ImageIndex) v1.Descriptor {
	t.Helper()
	m, err := index.IndexManifest()
	if err != nil || len(m.Manifests) != 1 {
		t.Fatalf("%v, %v", m, err)
	}
	return m.Manifests[0]
}

// TestBill compares the SBOM with what the programs link.
func TestBill(t *testing.T) {
	text, err := os.ReadFile(one(t, "*.spdx.json"))
	if err != nil {
		t.Fatal(err)
	}
	var doc struct {
		SPDXVersion string
		Packages    []struct{ SPDXID, Name, VersionInfo string }
		// Relationships are from a program to a module.
		Relationships []struct{ SPDXElementID, RelatedSPDXElement, RelationshipType string }
	}
	if err := json.Unmarshal(text, &doc); err != nil || doc.SPDXVersion != "SPDX-2.3" {
		t.Fatalf("%s, %v", doc.SPDXVersion, err)
	}
	names := map[string]string{}
	for _, p := range doc.Packages {
		names[p.SPDXID] = p.Name + " " + p.VersionInfo
	}
	got := map[string][]string{}
	for _, r := range doc.Relationships {
		if r.RelationshipType == "CONTAINS" {
			program, _, _ := strings.Cut(names[r.SPDXElementID], " ")
			got[program] = append(got[program], names[r.RelatedSPDXElement])
		}
	}
	bin := filepath.Join(unpacked(t, "swiftcni-linux-*-"+version+".tgz"), "bin")
	for _, program := range programNames {
		out := do(t, bin, nil, "go", "version", "-m", program)
		want := []string{"stdlib " + strings.TrimPrefix(strings.Fields(out)[1], "go")}
		for line := range strings.Lines(out) {
			if f := strings.Fields(line); len(f) == 4 && f[0] == "dep" {
				want = append(want, f[1]+" "+f[2])
			}
		}
		if !slices.Equal(got[program], want) {
			t.Errorf("%s: %v, want %v", program, got[program], want)
		}
	}
}
