// SPDX-License-Identifier: Apache-2.0

package cni

import (
	"testing"

	"github.com/swiftcni/swiftcni/internal/test/nstest"
)

func TestMain(m *testing.M) { nstest.Main(m) }
