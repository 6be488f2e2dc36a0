// SPDX-License-Identifier: Apache-2.0

package cni

import (
	"flag"
	"testing"

	"github.com/swiftcni/swiftcni/internal/test/nstest"
)

var update = flag.Bool("update", false, "rewrite golden files")

func TestMain(m *testing.M) { nstest.Main(m) }
