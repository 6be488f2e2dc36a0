// SPDX-License-Identifier: Apache-2.0

// Command label prints the types that SELinux knows files by, or sets them. It's for the guest,
// whose busybox has no such program: label FILE..., or label -t TYPE FILE...
package main

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"golang.org/x/sys/unix"
)

const attribute, prefix = "security.selinux", "system_u:object_r:"

func main() {
	do, files := show, os.Args[1:]
	if len(files) > 1 && files[0] == "-t" {
		label := prefix + files[1]
		do = func(file string) error { return unix.Lsetxattr(file, attribute, []byte(label), 0) }
		files = files[2:]
	}
	for _, file := range files {
		if err := do(file); err != nil {
			fmt.Fprintln(os.Stderr, "label:", file+":", err)
			os.Exit(1)
		}
	}
}

func show(file string) error {
	label := make([]byte, 256)
	n, err := unix.Lgetxattr(file, attribute, label)
	if err == nil {
		fmt.Println(filepath.Base(file), strings.TrimPrefix(strings.TrimRight(string(label[:n]), "\x00"), prefix))
	}
	return err
}
