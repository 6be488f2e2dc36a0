// SPDX-License-Identifier: Apache-2.0

package netconf

import (
	"math"
	"strconv"

	"github.com/swiftcni/swiftcni/internal/jsontext"
)

// maxOption is how many bytes an option of DHCP has room for (RFC 2132, 2).
const maxOption = 255

// dhcpField reads a key of dhcp's. The daemon reads all of them but the socket, and finds what is
// wrong when the link is there.
func (k *IPAM) dhcpField(r *jsontext.Reader, key string) error {
	switch key {
	case "daemonsocketpath":
		return r.Str(&k.Socket)
	case "provide", "request":
		_, err := r.List(func() error { return optionFields(r) })
		return err
	case "priority":
		n := 0
		return r.Bounded(&n, 0, math.MaxUint32&math.MaxInt) // an int of 32 bits holds less
	}
	return nil
}

// optionFields reads an option that is provided or requested.
func optionFields(r *jsontext.Reader) error {
	return r.Object(func(key string) error {
		switch key {
		case "option":
			return r.Text("a number from 0 to 255 or the name of an option", isOption)
		case "value":
			return r.Text("at most 255 bytes", func(s string) bool { return len(s) <= maxOption })
		case "fromarg":
			return r.Text("", func(string) bool { return true })
		case "skipdefault":
			return r.Bool(new(bool))
		}
		return nil
	})
}

// isOption reports whether it's an option by number or name (dhcp-options(5)).
func isOption(name string) bool {
	switch name {
	case "dhcp-client-identifier", "subnet-mask", "routers", "host-name", "user-class", "vendor-class-identifier":
		return true
	}
	_, err := strconv.ParseUint(name, 10, 8)
	return err == nil
}
