// SPDX-License-Identifier: Apache-2.0

package cni

import (
	"github.com/swiftcni/swiftcni/cni/spec"
)

// The specification's words, which package spec explains.
type (
	Result    = spec.Result
	Interface = spec.Interface
	IP        = spec.IP
	Route     = spec.Route
	DNS       = spec.DNS
)

// NoInterface is an [IP] that names no interface.
const NoInterface = spec.NoInterface

// Versions returns the versions of the specification that every plugin here speaks, oldest first,
// in a slice of the caller's.
func Versions() []string { return spec.Versions() }
