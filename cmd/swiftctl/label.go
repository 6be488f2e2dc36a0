// SPDX-License-Identifier: Apache-2.0

package main

import (
	"os"

	"golang.org/x/sys/unix"
)

// labelName is the attribute of a file that SELinux's rules are about. The policy may let only a
// program with a certain label become what a runtime's plugins are.
const labelName = "security.selinux"

// labelOf returns the label of a file, or of a symbolic link itself; nil is none.
func labelOf(path string) []byte {
	label := make([]byte, 4096) // more than any policy's (a page, in the kernel)
	n, err := unix.Lgetxattr(path, labelName, label)
	if err != nil || n == 0 {
		return nil
	}
	return label[:n]
}

// setLabel gives a file a label, unless it has that already.
func setLabel(path string, label []byte) error {
	if label == nil || string(labelOf(path)) == string(label) {
		return nil
	}
	err := unix.Lsetxattr(path, labelName, label, 0)
	if _, off := os.Stat("/sys/fs/selinux/enforce"); err == nil || off != nil {
		return nil // where SELinux is off, a label that can't be set means nothing
	}
	return &os.PathError{Op: "label", Path: path, Err: err}
}

// label is what a file of the directory is to have: the label of the one that it replaces. The
// binary's first installation replaces none, but what ran by the plugins' names: a link is
// followed, so it's the binary's label that counts.
func (in *installer) label(name string) []byte {
	if in.copy {
		name = binaryName // they may be one file
	}
	if label := labelOf(in.path(name)); label != nil || name != binaryName {
		return label
	}
	for _, plugin := range in.names {
		if label := labelOf(in.path(plugin)); label != nil {
			return label
		}
	}
	return nil
}
