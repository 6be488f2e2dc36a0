// SPDX-License-Identifier: Apache-2.0

package cni

import (
	"context"

	"github.com/swiftcni/swiftcni/internal/verbs"
)

// The plugins that have rooms of their own need no more of a network than verbs.Call says.

// call is what the room is told of the network.
func (n *Network) call() *verbs.Call {
	return &verbs.Call{Network: n.name, CNIVersion: n.cniVersion, LeaseDir: n.ipam.dataDir, Prev: n.prev, PrevText: n.prevRaw, PrevErr: n.prevErr}
}

func addRoom(ctx context.Context, n *Network, a Attachment) (*Result, error) {
	return n.room.Add(ctx, n.call(), a)
}

func delRoom(ctx context.Context, n *Network, a Attachment) error {
	return n.room.Del(ctx, n.call(), a)
}

func checkRoom(ctx context.Context, n *Network, a Attachment, prev *Result) error {
	c := n.call()
	c.Prev = prev
	return n.room.Check(ctx, c, a)
}

func gcRoom(ctx context.Context, n *Network, valid []Attachment) error {
	return n.room.GC(ctx, n.call(), valid)
}

func statusRoom(ctx context.Context, n *Network) error { return n.room.Status(ctx, n.call()) }

// wrongRoom is what is wrong with prevResult or else with the plugin's own keys.
func wrongRoom(n *Network, a Attachment) error {
	if n.prevErr != nil {
		return n.prevErr
	}
	if err := n.room.Wrong(a); err != nil {
		return err
	}
	return nil
}
