// SPDX-License-Identifier: Apache-2.0

package rtnl

import (
	"errors"
	"strconv"
)

// A MacvlanMode says which frames pass between the macvlans of one parent (enum macvlan_mode,
// linux/if_link.h). Zero is the kernel's default, which is [MacvlanVEPA].
type MacvlanMode uint32

// Modes of a macvlan.
const (
	// MacvlanPrivate keeps the macvlans of a parent from each other.
	MacvlanPrivate MacvlanMode = 1
	// MacvlanVEPA sends frames for each other out by the parent, to a switch that sends them back.
	MacvlanVEPA MacvlanMode = 2
	// MacvlanBridge passes frames from one to the other.
	MacvlanBridge MacvlanMode = 4
	// MacvlanPassthru gives the parent to one macvlan alone, which takes its MAC.
	MacvlanPassthru MacvlanMode = 8
)

func (m MacvlanMode) String() string {
	switch m {
	case MacvlanPrivate:
		return "private"
	case MacvlanVEPA:
		return "vepa"
	case MacvlanBridge:
		return "bridge"
	case MacvlanPassthru:
		return "passthru"
	}
	return strconv.FormatUint(uint64(m), 10)
}

// A Macvlan is a link with a MAC of its own on another link, its parent. It goes with the parent.
type Macvlan struct {
	Link
	// Parent is the index of the link below (IFLA_LINK). On Create the conn's namespace is where
	// it's looked up, also if the macvlan is born in another. Set and Ensure leave it as it is.
	Parent int
	// Mode is what passes between macvlans. A macvlan in passthru mode stays in it.
	Mode MacvlanMode
	// BCQueueLen is how many broadcast frames may wait (IFLA_MACVLAN_BC_QUEUE_LEN, Linux 5.11,
	// which takes them for all macvlans of the parent). The kernel's default is 1000.
	BCQueueLen uint32
}

// ErrNotMacvlan is the error for a link that isn't a macvlan.
var ErrNotMacvlan = errors.New("rtnl: not a macvlan")

func (m Macvlan) kindLink() (k kindLink) {
	k = kindLink{Link: m.Link, kind: macvlan, parent: m.Parent, bcQueueLen: m.BCQueueLen}
	if m.Mode != 0 {
		k.option = uint64(m.Mode) + 1
	}
	return k
}

// Macvlan returns the settings of the macvlan with a name. The parent's index is that in the
// parent's namespace. The error for a missing link is [io/fs.ErrNotExist], and for a link of another
// kind [ErrNotMacvlan].
func (c *Conn) Macvlan(name string) (Macvlan, error) {
	k, err := c.getKind(name, macvlan, ErrNotMacvlan)
	return Macvlan{Link: k.Link, Parent: k.parent, Mode: MacvlanMode(max(k.option, 1) - 1), BCQueueLen: k.bcQueueLen}, err
}

func (Macvlan) write(*words) {} // what a batch prints is a [kindLink]
