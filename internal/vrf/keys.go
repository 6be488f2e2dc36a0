// SPDX-License-Identifier: Apache-2.0

package vrf

import (
	"context"
	"math"
	"strconv"

	"github.com/swiftcni/swiftcni/cni/spec"
	"github.com/swiftcni/swiftcni/internal/fault"
	"github.com/swiftcni/swiftcni/internal/names"
	"github.com/swiftcni/swiftcni/internal/netconf"
	"github.com/swiftcni/swiftcni/internal/verbs"
)

// Keys are the plugin's own. err is the first wrong one.
type Keys struct {
	name  string
	table uint32 // 0: that of a VRF that exists, or one that's free
	err   *spec.Error
}

// Read reads the plugin's keys.
func Read(n *netconf.Network) verbs.Plugin {
	r := n.Reader()
	k := &Keys{}
	err := r.Object(func(key string) error {
		switch key {
		case "vrfname":
			return r.Str(&k.name)
		case "table":
			var table int
			err := r.Bounded(&table, 0, math.MaxUint32&math.MaxInt) // an int of 32 bits holds less
			k.table = uint32(table)
			return err
		}
		return nil
	})
	k.err = fault.First(r, err)
	if problem := names.LinkProblem(k.name); problem != "" && k.err == nil {
		k.err = fault.Because(fault.Key("vrfname", "configuration is expected to have a valid vrf name"), "vrfname: "+problem)
	}
	return k
}

// Wrong is the first key that's wrong.
func (k *Keys) Wrong(spec.Attachment) *spec.Error { return k.err }

// Explain tells what Add would do in a container that has no VRF of the name yet.
func (k *Keys) Explain(a spec.Attachment) (string, error) {
	if k.err != nil {
		return "", k.err
	}
	table := "the first free table"
	if k.table != 0 {
		table = "table " + strconv.FormatUint(uint64(k.table), 10)
	}
	return "container  create vrf " + k.name + " up with " + table + ", if it's missing\n" +
		"container  set link " + a.IfName + " master " + k.name + ", with its routes in that table\n", nil
}

// GC has nothing to do: everything goes with the container.
func (k *Keys) GC(context.Context, *verbs.Call, []spec.Attachment) error { return nil }

// Reclaim has nothing to do.
func (k *Keys) Reclaim(context.Context, *verbs.Call) error { return nil }

// Status returns the first key that is wrong.
func (k *Keys) Status(context.Context, *verbs.Call) error {
	if k.err != nil {
		return k.err
	}
	return nil
}
