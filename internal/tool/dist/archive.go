// SPDX-License-Identifier: Apache-2.0

package main

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"crypto/sha256"
	"crypto/sha512"
	"fmt"
	"hash"
	"io"
	"os"
	"path/filepath"
	"time"
)

// archive writes a compressed archive and its sums. Names begin with "./", as in the CNI project's archives, since some who
// unpack one name the files that they want. There is no entry for the top directory, whose mode and time would be changed by it.
func (r *release) archive(name string, t tree) error {
	var b bytes.Buffer
	z, err := gzip.NewWriterLevel(&b, gzip.BestCompression) // its header has no time and no name
	if err != nil {
		return err
	}
	if err := writeTar(z, t, r.made); err != nil {
		return err
	}
	if err := z.Close(); err != nil {
		return err
	}
	return r.put(name, b.Bytes())
}

func writeTar(w io.Writer, t tree, made time.Time) error {
	tw := tar.NewWriter(w)
	for _, d := range t.dirs() {
		if err := tw.WriteHeader(&tar.Header{Typeflag: tar.TypeDir, Name: "./" + d + "/", Mode: 0o755, ModTime: made, Uname: "root", Gname: "root"}); err != nil {
			return err
		}
	}
	for _, f := range t.sorted() {
		h := &tar.Header{Typeflag: tar.TypeReg, Name: "./" + f.name, Mode: f.mode(), Size: int64(len(f.data)), ModTime: made, Uname: "root", Gname: "root"}
		switch {
		case f.hard != "":
			h.Typeflag, h.Linkname = tar.TypeLink, "./"+f.hard
		case f.soft != "":
			h.Typeflag, h.Linkname = tar.TypeSymlink, f.soft
		}
		if err := tw.WriteHeader(h); err != nil {
			return err
		}
		if _, err := tw.Write(f.data); err != nil {
			return err
		}
	}
	return tw.Close()
}

// put writes a file of the release, and beside it its sums as sha256sum and sha512sum print them.
func (r *release) put(name string, data []byte) error {
	path := filepath.Join(r.out, name)
	fmt.Fprintf(r.progress, "%9d %s\n", len(data), name)
	if err := os.WriteFile(path, data, 0o644); err != nil {
		return err
	}
	for suffix, sum := range map[string]hash.Hash{".sha256": sha256.New(), ".sha512": sha512.New()} {
		sum.Write(data)
		if err := os.WriteFile(path+suffix, fmt.Appendf(nil, "%x  %s\n", sum.Sum(nil), name), 0o644); err != nil {
			return err
		}
	}
	return nil
}
