// SPDX-License-Identifier: Apache-2.0

package ipam

import (
	"testing"

	"github.com/swiftcni/swiftcni/internal/nstest"
)

func TestMain(m *testing.M) { nstest.Main(m) }
