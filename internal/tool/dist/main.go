// SPDX-License-Identifier: Apache-2.0

// Command dist makes a release's files from a clone: see docs/releases.md. `make dist` runs it.
package main

import (
	"flag"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
)

func main() {
	if err := run(os.Args[1:], os.Stderr); err != nil {
		fmt.Fprintln(os.Stderr, "dist:", err)
		os.Exit(1)
	}
}

func run(args []string, progress io.Writer) error {
	var all []string
	for _, t := range targets {
		all = append(all, t.name)
	}
	flags := flag.NewFlagSet("dist", flag.ContinueOnError)
	flags.SetOutput(progress)
	root := flags.String("root", ".", "the repository's `directory`")
	out := flags.String("out", "dist", "the `directory` for the release's files")
	version := flags.String("version", "", "the release's `version`, such as v0.9.0")
	imageOnly := flags.Bool("image", false, "make the image only")
	arches := flags.String("arches", strings.Join(all, " "), "`architectures`, separated by spaces")
	if err := flags.Parse(args); err != nil {
		return err
	}
	r := &release{version: *version, imageOnly: *imageOnly, progress: progress}
	for _, name := range strings.Fields(*arches) {
		t, err := findTarget(name)
		if err != nil {
			return err
		}
		r.targets = append(r.targets, t)
	}
	var err error
	if r.root, err = filepath.Abs(*root); err != nil {
		return err
	}
	if r.out, err = filepath.Abs(*out); err != nil {
		return err
	}
	return r.run()
}
