// SPDX-License-Identifier: Apache-2.0

package dbus

import (
	"net/url"
	"strings"
)

// SystemBusVar is the variable with the system bus's addresses, which every D-Bus library uses.
const SystemBusVar = "DBUS_SYSTEM_BUS_ADDRESS"

// unixSockets returns the paths of a list of addresses (D-Bus specification, "Server Addresses"),
// such as "unix:path=/run/bus,guid=0123;unix:abstract=bus", as package unix takes them. Other
// transports are left out.
func unixSockets(list string) (paths []string) {
	for address := range strings.SplitSeq(list, ";") {
		keys, ok := strings.CutPrefix(address, "unix:")
		if !ok {
			continue
		}
		for pair := range strings.SplitSeq(keys, ",") {
			key, value, _ := strings.Cut(pair, "=")
			// The escapes are those of a URL's path: a percent sign and two hexadecimal digits.
			value, err := url.PathUnescape(value)
			switch {
			case err != nil || value == "":
			case key == "path":
				paths = append(paths, value)
			case key == "abstract":
				paths = append(paths, "@"+value)
			}
		}
	}
	return paths
}
