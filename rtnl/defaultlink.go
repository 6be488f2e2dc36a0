// SPDX-License-Identifier: Apache-2.0

package rtnl

import (
	"errors"

	"golang.org/x/sys/unix"
)

// ErrNoDefaultRoute is the error for a namespace without a default route.
var ErrNoDefaultRoute = errors.New("rtnl: no default route")

// DefaultLink returns the index of the link of the first default route of the main table, of IPv4 if
// it has one and else of IPv6. The first is the one with the lowest priority. It lists the table:
// a look-up of a single route tells where packets to one address go, which a longer prefix may
// decide. Errors: [ErrNoDefaultRoute], [*Error], [ErrInterrupted].
func (c *Conn) DefaultLink() (int, error) {
	for _, family := range [...]uint8{unix.AF_INET, unix.AF_INET6} {
		for r, err := range c.routes(RouteFilter{Family: family}, decodeDefaultRoutes) {
			if err != nil {
				return 0, err
			}
			if r.Link != 0 {
				return r.Link, nil
			}
		}
	}
	return 0, ErrNoDefaultRoute
}

// decodeDefaultRoutes is [decodeRoutes] for those that lead everywhere.
func decodeDefaultRoutes(b []byte, add func(Route)) error {
	if len(b) > 1 && b[1] != 0 {
		return nil
	}
	return decodeRoutes(b, add)
}
