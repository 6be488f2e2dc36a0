// SPDX-License-Identifier: Apache-2.0

package netconf

import (
	"errors"
	"strconv"

	"github.com/swiftcni/swiftcni/cni/spec"
	"github.com/swiftcni/swiftcni/internal/fault"
	"github.com/swiftcni/swiftcni/internal/jsontext"
	"github.com/swiftcni/swiftcni/internal/specversion"
)

// readPrev reads the prevResult by the configuration's family of versions; one that says another
// family itself is an error. The verbs that need it look at the error.
func (n *Network) readPrev() {
	if len(n.PrevText) == 0 || string(n.PrevText) == "null" {
		n.PrevText = nil
		return
	}
	want, ok := specversion.Parse(n.CNIVersion)
	if !ok {
		return // the version gate says it better
	}
	res := &spec.Result{CNIVersion: n.CNIVersion}
	if err := res.UnmarshalJSON(n.PrevText); err != nil {
		n.PrevErr = fault.Of(err)
		if at := (*jsontext.Error)(nil); errors.As(err, &at) {
			n.PrevErr = fault.OfText(at.In("prevResult"))
		}
		if e := n.PrevErr; e.Details != "" { // twice, as the reference says it
			n.PrevErr = fault.During("could not parse prevResult", fault.During("could not parse prevResult", e))
		}
		return
	}
	if got, ok := specversion.Parse(res.CNIVersion); !ok || got.Form() != want.Form() {
		n.PrevErr = fault.Key("prevResult", `invalid "prevResult.cniVersion": expected the form of `+n.CNIVersion+", got "+strconv.Quote(res.CNIVersion))
		return
	}
	n.Prev = res
}
