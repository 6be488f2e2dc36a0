// SPDX-License-Identifier: Apache-2.0

// Command swiftctl is the tool for people. It attaches and detaches containers, lists attachments,
// finds and repairs faults, explains the changes of an ADD, adopts nodes of the CNI project's
// plugins, ends the remains of dead containers, installs the plugins, shows and measures them at work,
// and serves as an OCI hook.
// docs/swiftctl.md tells more.
//
// Its exit status is 0 for success, 1 for a failure and 2 for a command line that makes no sense.
package main

import (
	"errors"
	"fmt"
	"os"
	"strings"

	"github.com/swiftcni/swiftcni/cmd/swiftctl/internal/box"
	"github.com/swiftcni/swiftcni/internal/entry"
)

func main() {
	entry.Restore()
	box.Init()
	os.Exit(run())
}

func run() int {
	root := newRoot()
	root.SetArgs(withTwoDashes(os.Args[1:]))
	cmd, err := root.ExecuteC()
	if err == nil {
		return 0
	}
	var status exitStatus
	if errors.As(err, &status) {
		return int(status)
	}
	var f *failure
	if errors.As(err, &f) {
		// There may be several joined errors.
		for line := range strings.SplitSeq(strings.TrimSpace(err.Error()), "\n") {
			fmt.Fprintf(os.Stderr, "%s: %s\n", cmd.CommandPath(), line)
		}
		return 1
	}
	fmt.Fprintf(os.Stderr, "%s: %s (%s --help tells more)\n", cmd.CommandPath(), oneLine(err), cmd.CommandPath())
	return 2
}

// oneLine keeps an error, which may be several joined ones, on one line.
func oneLine(err error) string {
	return strings.ReplaceAll(strings.TrimSpace(err.Error()), "\n", "; ")
}

// failure is an error of a command that was called correctly. All other errors are errors of usage.
type failure struct{ err error }

func (f *failure) Error() string { return f.err.Error() }
func (f *failure) Unwrap() error { return f.err }

// usageError is an error of usage that shows only once a command runs.
type usageError struct{ err error }

func (u *usageError) Error() string { return u.err.Error() }
func (u *usageError) Unwrap() error { return u.err }
