// SPDX-License-Identifier: Apache-2.0

package cni

import (
	"context"

	"github.com/swiftcni/swiftcni/internal/bandwidth"
	"github.com/swiftcni/swiftcni/internal/firewall"
	"github.com/swiftcni/swiftcni/internal/jsontext"
	"github.com/swiftcni/swiftcni/internal/portmap"
	"github.com/swiftcni/swiftcni/internal/sbr"
	"github.com/swiftcni/swiftcni/internal/tuning"
	"github.com/swiftcni/swiftcni/internal/verbs"
)

// A reader makes plugins of networks whatever their type says.
type reader func(*jsontext.Reader) verbs.Plugin

func (read reader) of(n *Network) verbs.Plugin { return read(n.reader()) }

func (read reader) add(ctx context.Context, n *Network, a Attachment) (*Result, error) {
	return read.of(n).Add(ctx, n.call(), a)
}

func (read reader) del(ctx context.Context, n *Network, a Attachment) error {
	return read.of(n).Del(ctx, n.call(), a)
}

func (read reader) check(ctx context.Context, n *Network, a Attachment, prev *Result) error {
	c := n.call()
	if prev != nil {
		c.Prev = prev
	}
	return read.of(n).Check(ctx, c, a)
}

func (read reader) gc(ctx context.Context, n *Network, valid []Attachment) error {
	return read.of(n).GC(ctx, n.call(), valid)
}

func (read reader) status(ctx context.Context, n *Network) error {
	return read.of(n).Status(ctx, n.call())
}

var (
	bandwidthRoom = reader(bandwidth.Read)
	firewallRoom  = reader(firewall.Read)
	portmapRoom   = reader(portmap.Read)
	sbrRoom       = reader(sbr.Read)
	tuningRoom    = reader(tuning.Read)
)
