// SPDX-License-Identifier: Apache-2.0

package main

import (
	"errors"
	"os"
	"path/filepath"
	"regexp"
)

// networksIn lists the networks whose leases are in dir, by name. A name that no network can have
// isn't one.
func networksIn(dir string) (names []string, err error) {
	entries, err := os.ReadDir(dir)
	for _, e := range entries {
		if e.IsDir() && networkName.MatchString(e.Name()) {
			names = append(names, e.Name())
		}
	}
	return names, err
}

// networkName is the CNI specification's rule. The store's own directory has a name with a dot at
// its beginning.
var networkName = regexp.MustCompile(`^[a-zA-Z0-9][a-zA-Z0-9_.-]*$`)

// inDir makes sure that an error names the network's directory.
func inDir(dir, network string, err error) error {
	var path *os.PathError
	if errors.As(err, &path) && filepath.IsAbs(path.Path) {
		return err
	}
	return &os.PathError{Op: "list", Path: filepath.Join(dir, network), Err: err}
}
