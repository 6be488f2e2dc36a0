// SPDX-License-Identifier: Apache-2.0

package rtnl

import (
	"strings"
	"testing"

	"github.com/swiftcni/swiftcni/internal/nstest"
)

func TestMain(m *testing.M) { nstest.Main(m) }

func contains(s, sub string) bool { return strings.Contains(s, sub) }
