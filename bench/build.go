// SPDX-License-Identifier: Apache-2.0

package main

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"

	"github.com/swiftcni/swiftcni/internal/tool/build"
)

// builder builds contestants into the cache directory.
type builder struct {
	root, cache string
	subnet      netip.Prefix
	swiftcni    string // binary to be used, or empty
	progress    io.Writer
}

func newBuilder(root, subnet, swiftcni string, progress io.Writer) builder {
	return builder{root: root, cache: filepath.Join(root, ".cache", "bench"), subnet: netip.MustParsePrefix(subnet),
		swiftcni: swiftcni, progress: progress}
}

func (b builder) launcher() string { return filepath.Join(b.cache, "launch") }

// commit names the tree from which swiftcni and the floor are built.
func (b builder) commit() string {
	name, err := b.git("describe", "--always", "--dirty", "--abbrev=12")
	if err != nil {
		return "unknown"
	}
	return name
}

func (b builder) git(args ...string) (string, error) {
	out, err := exec.Command("git", append([]string{"-C", b.root}, args...)...).Output()
	if err != nil {
		return "", fmt.Errorf("git %s: %w", strings.Join(args, " "), err)
	}
	return strings.TrimSpace(string(out)), nil
}

func (b builder) emptyGo() error {
	return build.Go(b.progress, filepath.Join(b.root, "bench"), filepath.Join(b.cache, "empty-go"), "./empty")
}

func (b builder) swiftctlPath() string { return filepath.Join(b.cache, "swiftctl") }

func (b builder) swiftctl() error {
	return build.Swiftctl(b.progress, b.root, b.swiftctlPath())
}

// ours puts swiftcni into a directory under the names of its plugins.
func (b builder) ours() error {
	return build.Swiftcni(b.progress, b.root, filepath.Join(b.cache, "swiftcni"), b.swiftcni)
}

func (b builder) reference() error {
	_, err := build.Reference(b.progress, b.root)
	return err
}

// compile builds a C program of the floor's directory.
func (b builder) compile(name, output string, flags ...string) error {
	args := append([]string{"-static", "-O2", "-Wall", "-Wextra", "-Werror", "-s"}, flags...)
	args = append(args, "-o", filepath.Join(b.cache, output), filepath.Join(b.root, "bench", "floor", name+".c"))
	return build.Run(b.progress, b.root, nil, "gcc", args...)
}

// floorName is the floor's program for the subnet.
func (b builder) floorName() string { return fmt.Sprintf("floor-%d", b.subnet.Bits()) }

func (b builder) floor() error {
	network := b.subnet.Addr().As4()
	return b.compile("floor", b.floorName(), fmt.Sprintf("-DNETWORK=%#xu", binary.BigEndian.Uint32(network[:])),
		fmt.Sprintf("-DBITS=%d", b.subnet.Bits()))
}

// revisions builds swiftcni of one or two git revisions. Without the second one it builds the
// working tree too. They are contestants A and B.
func (b builder) revisions(names []string) (list []Contestant, err error) {
	if err := errors.Join(os.MkdirAll(b.cache, 0o755), b.compile("launch", "launch")); err != nil {
		return nil, err
	}
	for i, name := range append(slices.Clone(names), "")[:2] {
		version, plugins := b.commit(), filepath.Join(b.cache, "swiftcni")
		if name == "" {
			err = b.ours()
		} else {
			version, plugins, err = b.revision(name)
		}
		if err != nil {
			return nil, err
		}
		list = append(list, b.plugin([...]string{"A", "B"}[i], version, plugins, true, "", listRuleset()...))
	}
	return list, nil
}

// revision builds swiftcni of a git revision, once, from its files as git archives them. The
// working tree stays as it is.
func (b builder) revision(name string) (version, plugins string, err error) {
	hash, err := b.git("rev-parse", "--verify", "--short=12", name+"^{commit}")
	if err != nil {
		return "", "", err
	}
	tree, plugins := filepath.Join(b.cache, "tree-"+hash), filepath.Join(b.cache, "swiftcni-"+hash)
	if _, err := os.Stat(filepath.Join(plugins, "bridge")); err == nil {
		return name + " " + hash, plugins, nil
	}
	defer os.RemoveAll(tree)
	unpack := fmt.Sprintf("mkdir -p '%[2]s' && git archive %[1]s | tar -x -C '%[2]s'", hash, tree)
	if err := build.Run(b.progress, b.root, nil, "sh", "-c", unpack); err != nil {
		return "", "", err
	}
	return name + " " + hash, plugins, build.Swiftcni(b.progress, tree, plugins, "")
}

// install writes each program of the cache anew, in one piece, as what installs programs does. A
// linker writes its output page by page, and so the page cache has it: in single pages. Those of a
// file that was written in one piece are large folios, which the kernel maps and unmaps with less
// work (ext4 since Linux 6.16). It's a seventh of an ADD's time, with the same number of faults.
func (b builder) install() error {
	return filepath.WalkDir(b.cache, func(path string, entry fs.DirEntry, err error) error {
		if err != nil || !entry.Type().IsRegular() {
			return err
		}
		info, err := entry.Info()
		if err != nil || info.Mode()&0o100 == 0 {
			return err
		}
		program, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		installed := path + ".installed"
		if err := os.WriteFile(installed, program, info.Mode().Perm()); err != nil {
			return err
		}
		return os.Rename(installed, path)
	})
}
