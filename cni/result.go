// SPDX-License-Identifier: Apache-2.0

package cni

import (
	"errors"

	"github.com/swiftcni/swiftcni/cni/spec"
	"github.com/swiftcni/swiftcni/internal/fault"
	"github.com/swiftcni/swiftcni/internal/jsontext"
	"github.com/swiftcni/swiftcni/internal/specversion"
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

// parsePrevResult reads the prevResult by the configuration's family of versions; one that says another
// family itself is an error. The verbs that need it look at the error.
func (n *Network) parsePrevResult() {
	if len(n.prevRaw) == 0 || string(n.prevRaw) == "null" {
		n.prevRaw = nil
		return
	}
	want, ok := specversion.Parse(n.cniVersion)
	if !ok {
		return // the version gate says it better
	}
	res := &Result{CNIVersion: n.cniVersion}
	if err := res.UnmarshalJSON(n.prevRaw); err != nil {
		n.prevErr = asError(err)
		if at := (*jsontext.Error)(nil); errors.As(err, &at) {
			n.prevErr = fault.OfText(at.In("prevResult"))
		}
		if e := n.prevErr; e.Details != "" { // twice, as the reference says it
			n.prevErr = fault.During("could not parse prevResult", fault.During("could not parse prevResult", e))
		}
		return
	}
	if got, ok := specversion.Parse(res.CNIVersion); !ok || got.Form() != want.Form() {
		n.prevErr = invalidKey("prevResult", `invalid "prevResult.cniVersion": expected the form of `+n.cniVersion+", got "+quote(res.CNIVersion))
		return
	}
	n.prev = res
}
