// SPDX-License-Identifier: Apache-2.0

// Command swiftcni is every plugin in one binary: it answers to the name that it's called by.
//
// It lives for a millisecond or two, so the runtime needn't read the CPU's quota from the cgroup, nor follow it.
//
//go:debug containermaxprocs=0
//go:debug updatemaxprocs=0
package main

import (
	"os"
	"path/filepath"

	"github.com/swiftcni/swiftcni/cni"
	"github.com/swiftcni/swiftcni/internal/entry"
)

func main() {
	entry.Restore()
	entry.Grow()
	os.Exit(cni.Main(filepath.Base(os.Args[0]), os.Getenv, os.Stdin, os.Stdout, os.Stderr))
}
