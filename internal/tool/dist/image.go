// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bytes"
	"compress/gzip"
	"io"
	"path/filepath"
	"strings"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/layout"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/tarball"
	"github.com/google/go-containerregistry/pkg/v1/types"
)

// image writes an image for all architectures as an archive of the OCI's layout, which registries' clients, podman and
// containerd read.
func (r *release) image(list []*built) error {
	index := mutate.IndexMediaType(empty.Index, types.OCIImageIndex)
	for _, b := range list {
		img, err := r.imageFor(b)
		if err != nil {
			return err
		}
		index = mutate.AppendManifests(index, mutate.IndexAddendum{Add: img,
			Descriptor: v1.Descriptor{Platform: &v1.Platform{OS: "linux", Architecture: b.target.image, Variant: b.target.variant}}})
	}
	dir := filepath.Join(r.work, "image")
	l, err := layout.Write(dir, empty.Index)
	if err != nil {
		return err
	}
	tag := strings.ReplaceAll(r.version, "+", "-") // a tag has no plus
	if err := l.AppendIndex(index, layout.WithAnnotations(map[string]string{
		"org.opencontainers.image.ref.name": tag, "io.containerd.image.name": "localhost/swiftcni:" + tag})); err != nil {
		return err
	}
	t, err := walk(dir)
	if err != nil {
		return err
	}
	var text bytes.Buffer
	if err := writeTar(&text, t, r.made); err != nil {
		return err
	}
	return r.put("swiftcni-image-"+r.version+".tar", text.Bytes())
}

// imageFor is an architecture's image: two static programs, and no shell.
func (r *release) imageFor(b *built) (v1.Image, error) {
	t := append(b.programs("usr/bin/").only("usr/bin/swiftcni", "usr/bin/swiftctl"), b.docs.only("LICENSE", licensesName).under("usr/share/doc/swiftcni/")...)
	var text bytes.Buffer
	if err := writeTar(&text, t, r.made); err != nil {
		return nil, err
	}
	layer, err := tarball.LayerFromOpener(func() (io.ReadCloser, error) { return io.NopCloser(bytes.NewReader(text.Bytes())), nil },
		tarball.WithCompressionLevel(gzip.BestCompression), tarball.WithMediaType(types.OCILayer))
	if err != nil {
		return nil, err
	}
	made := v1.Time{Time: r.made}
	base := mutate.ConfigMediaType(mutate.MediaType(empty.Image, types.OCIManifestSchema1), types.OCIConfigJSON)
	img, err := mutate.Append(base, mutate.Addendum{Layer: layer, MediaType: types.OCILayer, History: v1.History{Created: made, CreatedBy: "make dist"}})
	if err != nil {
		return nil, err
	}
	config, err := img.ConfigFile()
	if err != nil {
		return nil, err
	}
	config = config.DeepCopy()
	config.OS, config.Architecture, config.Variant, config.Created = "linux", b.target.image, b.target.variant, made
	config.Config = v1.Config{Entrypoint: []string{"/usr/bin/swiftctl", "install"}, WorkingDir: "/", Labels: map[string]string{
		"org.opencontainers.image.source": "https://github.com/swiftcni/swiftcni", "org.opencontainers.image.version": r.version,
		"org.opencontainers.image.licenses": "Apache-2.0", "org.opencontainers.image.title": "swiftcni"}}
	return mutate.ConfigFile(img, config)
}
