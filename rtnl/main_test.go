// SPDX-License-Identifier: Apache-2.0

package rtnl

import (
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/swiftcni/swiftcni/internal/test/nstest"
)

func TestMain(m *testing.M) {
	// A fuzzing worker is a child of a process that's in its namespaces already, and speaks on
	// descriptors of its own.
	if slices.Contains(os.Args, "-test.fuzzworker") {
		os.Exit(m.Run())
	}
	nstest.Main(m)
}

func contains(s, sub string) bool { return strings.Contains(s, sub) }
