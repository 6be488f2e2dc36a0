// SPDX-License-Identifier: Apache-2.0

package device

import (
	"io/fs"
	"math"
	"strconv"

	"github.com/swiftcni/swiftcni/internal/fault"
	"github.com/swiftcni/swiftcni/internal/jsontext"
	"github.com/swiftcni/swiftcni/rtnl"
)

// A tapKeys is what the plugin tap has besides.
type tapKeys struct {
	multiQueue   bool
	owner, group *int   // nil: nobody in particular
	label        string // key "selinuxContext"
	bridge       string // of the container
}

// maxID is the largest ID of a user or a group: the next one means none (linux/uidgid.h).
const maxID = (math.MaxUint32 - 1) & math.MaxInt // an int of 32 bits holds less

func (t *tapKeys) field(r *jsontext.Reader, key string) error {
	switch key {
	case "multiqueue":
		return r.Bool(&t.multiQueue)
	case "owner":
		return r.Optional(&t.owner, maxID)
	case "group":
		return r.Optional(&t.group, maxID)
	case "selinuxcontext":
		return r.Str(&t.label)
	case "bridge":
		return r.Str(&t.bridge)
	}
	return nil
}

// createTap makes the link, and then sets what only a link that's there can have.
func (at *attaching) createTap() error {
	inside, err := rtnl.Dial(at.container)
	if err != nil {
		return fault.Wrap("open a netlink socket in the container", err)
	}
	defer inside.Close()
	link := rtnl.Link{MAC: at.mac, MTU: at.keys.mtu}
	if name := at.keys.tap.bridge; name != "" {
		if link.Master, err = inside.Index(name); err != nil {
			e := fault.Of(fault.Wrap("failed to get bridge "+name, err))
			e.Key = "bridge"
			return e
		}
	}
	if err := at.place(); err != nil {
		return err
	}
	link.Index = at.link.Index
	var b rtnl.Batch
	b.Set(link)
	if err := inside.Do(&b); err != nil {
		return fault.Wrap("failed to set up tap "+strconv.Quote(at.link.Name), err)
	}
	return nil
}

// makeTap makes it under a name.
func (at *attaching) makeTap(name string) error {
	t := rtnl.Tap{Name: name, Index: at.link.Index, MultiQueue: at.keys.tap.multiQueue, Owner: rtnl.NoOwner, Group: rtnl.NoOwner, Context: at.keys.tap.label}
	if owner := at.keys.tap.owner; owner != nil {
		t.Owner = *owner
	}
	if group := at.keys.tap.group; group != nil {
		t.Group = *group
	}
	return rtnl.CreateTap(at.container, t)
}

// noTap is the error of a tap that wasn't asked for: its device can't be opened, or its context can't
// be taken.
func (at *attaching) noTap(err error) error {
	if file, ok := err.(*fs.PathError); ok && file.Op == "write" {
		e := fault.Of(fault.Wrap("failed set socket label", err))
		e.Key = "selinuxContext"
		return e
	}
	return at.refused(err)
}
