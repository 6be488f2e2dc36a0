// SPDX-License-Identifier: Apache-2.0

package main

import (
	"os"
	"strings"

	"github.com/swiftcni/swiftcni/ipam"
	"github.com/swiftcni/swiftcni/rtnl"
)

// links are the veth links of this network namespace, in this boot of the host.
type links struct {
	boot  string
	netns uint64
	macs  map[int]string // by index
}

// readLinks lists the links once, since many are going to be looked up.
func readLinks() (*links, error) {
	l := &links{macs: map[int]string{}}
	boot, err := os.ReadFile("/proc/sys/kernel/random/boot_id")
	if err != nil {
		return l, err
	}
	ns, err := rtnl.CurrentNetNSID()
	if err != nil {
		return l, err
	}
	conn, err := rtnl.Dial(nil)
	if err != nil {
		return l, err
	}
	defer conn.Close()
	for link, err := range conn.Links(rtnl.LinkFilter{Kind: "veth"}) {
		if err != nil {
			return l, err
		}
		l.macs[link.Index] = link.MAC.String()
	}
	// Only now: what isn't in a list that broke off may well exist.
	l.boot, l.netns = strings.TrimSpace(string(boot)), ns.Ino
	return l, nil
}

// find tells whether a record's link is there. It goes by index and hardware address, since a link may have
// been renamed.
func (l *links) find(r ipam.Record) existence {
	switch {
	case l.boot == "" || r.Boot == "" || r.Index == 0:
		return unknown
	case r.Boot != l.boot: // no link outlives its boot
		return missing
	case r.NetNS != l.netns:
		return unknown
	case l.macs[r.Index] == r.MAC:
		return exists
	}
	return missing
}
