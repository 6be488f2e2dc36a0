// SPDX-License-Identifier: Apache-2.0

package nft

import (
	"os"
	"slices"
	"testing"

	"github.com/swiftcni/swiftcni/internal/test/nstest"
)

func TestMain(m *testing.M) {
	// A fuzzing worker is started by a test that is in its own namespaces already, and talks to it
	// through descriptors that no further child would inherit.
	if slices.Contains(os.Args, "-test.fuzzworker") {
		os.Exit(m.Run())
	}
	nstest.Main(m)
}
