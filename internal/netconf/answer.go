// SPDX-License-Identifier: Apache-2.0

package netconf

import (
	"errors"
	"strconv"
	"strings"

	"github.com/swiftcni/swiftcni/cni/spec"
	"github.com/swiftcni/swiftcni/internal/fault"
	"github.com/swiftcni/swiftcni/internal/jsontext"
	"github.com/swiftcni/swiftcni/internal/wire"
)

// ReadAnswer reads what the network's IPAM plugin answers: a result whose routes a link is to have.
func (n *Network) ReadAnswer(res *spec.Result, text []byte) error {
	err := res.UnmarshalJSON(text)
	if at := (*jsontext.Error)(nil); errors.As(err, &at) {
		return fault.OfText(at.In(n.IPAM.Plugin))
	}
	if err != nil {
		return err
	}
	for i := range res.Routes {
		route := wire.Route(res.Routes[i])
		if key, problem := route.Problem(); problem != "" {
			at := jsontext.Invalid(strings.TrimSuffix("routes["+strconv.Itoa(i)+"]."+key, "."), problem)
			return fault.OfText(at.In(n.IPAM.Plugin))
		}
	}
	return nil
}
