// SPDX-License-Identifier: Apache-2.0

package ipam

import (
	"bytes"
	"strings"
)

// DNS is the content of a resolv.conf(5), in the words of a CNI result's dns.
type DNS struct {
	Nameservers     []string
	Domain          string
	Search, Options []string
}

// maxResolvLine is the longest line that host-local accepts.
const maxResolvLine = 64 << 10

// ParseResolvConf reads a resolv.conf(5) as host-local does. Several search or options lines add
// up, the last domain wins, and comments are whole lines. Unknown lines are skipped. The only error
// is a line of 64 KiB or more.
func ParseResolvConf(text []byte) (DNS, error) {
	var dns DNS
	for line := range bytes.Lines(text) {
		if len(line) >= maxResolvLine {
			return DNS{}, errLongLine
		}
		fields := strings.Fields(string(line))
		if len(fields) < 2 || fields[0][0] == '#' || fields[0][0] == ';' {
			continue
		}
		switch fields[0] {
		case "nameserver":
			dns.Nameservers = append(dns.Nameservers, fields[1])
		case "domain":
			dns.Domain = fields[1]
		case "search":
			dns.Search = append(dns.Search, fields[1:]...)
		case "options":
			dns.Options = append(dns.Options, fields[1:]...)
		}
	}
	return dns, nil
}
