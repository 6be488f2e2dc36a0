// SPDX-License-Identifier: Apache-2.0

package spec

import "github.com/swiftcni/swiftcni/internal/specversion"

// Versions returns the versions of the specification that every plugin here knows, oldest first, in
// a slice of the caller's.
func Versions() []string { return specversion.List() }
