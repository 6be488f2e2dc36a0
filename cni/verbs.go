// SPDX-License-Identifier: Apache-2.0

package cni

import (
	"context"

	"github.com/swiftcni/swiftcni/internal/fault"
)

// Attach does what the plugin that the network's "type" names does at ADD, and after it what
// follows in its list or in its key "chain". bridge and ptp attach a container, loopback brings its
// lo up, host-local and static give addresses alone, and a plugin that follows others, such as
// portmap, works on the network's [Network.PrevResult], without which it fails.
//
// The error is an *Error: that of [Parse] if there was one, else one whose cause can be
// *ipam.ExhaustedError, *ipam.DuplicateError, *ipam.TakenError, *rtnl.Error, *nft.Error,
// *nft.PortTakenError, *nft.UnsupportedError, or ctx's error if that ended a wait. Nothing is left
// of a failed attempt but a bridge that it may have made. The result may share slices with the
// network, and one that a plugin passes on is [Network.PrevResult] itself: change a copy.
//
// It takes a millisecond or a few. Where others change the same network it waits for them, where
// the container has IPv6 addresses for their duplicate address detection if that's asked for, 5
// seconds at most, and for a port that doesn't come up 3 seconds. ctx bounds the wait for the
// lock of the leases, and an IPAM plugin that is a program of its own. It doesn't bound the work
// that takes a failed attempt back: that waits for the lock, and for such a program a minute.
func Attach(ctx context.Context, n *Network, a Attachment) (*Result, error) {
	if n.err != nil {
		return nil, n.err
	}
	res, err := n.attach(ctx, &n.told, a)
	return res, fault.Join(err)
}

// Detach does what the network's plugin does at DEL, after those that follow it. Of bridge and ptp
// it takes an attachment away: elements, link, leases, in this order and under the store's lock, so
// that an address is never given to somebody else while a rule or a container still has it. It
// needs no namespace, what's gone already is no error, and it goes on after an error to free
// whatever can be freed; the errors come back joined in one *Error. A network that [Parse] has
// found something wrong with is detached from all the same, if its "type" is known.
//
// It returns when the link is unlisted; a thread waits up to some 30 ms more for the kernel to free
// it. An IPAM plugin that is a program of its own is told after the elements and before the link:
// it may have to tell a server in the network, from the address that it releases. ctx bounds that
// program, and the wait for the lock of the leases.
func Detach(ctx context.Context, n *Network, a Attachment) error {
	if n.served == nil {
		return fault.Join(detachMembers(ctx, n.members, n.told.Prev, a), n.err)
	}
	return fault.Join(n.detach(ctx, &n.told, a))
}

// Check finds out whether an attachment still is as prev says, its result, in whatever the
// network's plugins are about: links, addresses, routes, rules. The *Error says the first thing
// that isn't, or the first of each plugin. It changes nothing, prev included, and finds nothing in
// a list whose "disableCheck" is true. ctx bounds the wait for the lock of the leases, and an IPAM
// plugin that is a program of its own.
func Check(ctx context.Context, n *Network, a Attachment, prev *Result) error {
	if n.err != nil {
		return n.err
	}
	if n.noCheck {
		return nil
	}
	c := n.told
	if c.Prev = prev; prev != nil {
		c.PrevErr = nil
	}
	return fault.Join(n.check(ctx, &c, a))
}

// GC removes all attachments of a network but those that are valid: elements, leases, links,
// whether they live or not. A valid one needs ContainerID and IfName only. An empty list leaves
// none; nil, which is as likely a list that was lost, is an error. [Reclaim] does without a list.
// Other networks aren't touched, nor is one of plugins whose "disableGC" is true.
//
// It goes on after an error; the errors come back joined in one *Error. It takes longer the more
// attachments the host has. ctx bounds the wait for the lock of the leases, and an IPAM plugin that
// is a program of its own.
func GC(ctx context.Context, n *Network, valid []Attachment) error {
	if n.err != nil {
		return n.err
	}
	if valid == nil {
		return fault.Key("cni.dev/valid-attachments", "GC needs the list of valid attachments, which may be empty, and got none")
	}
	if n.noCollect {
		return nil
	}
	return fault.Join(n.collect(ctx, &n.told, valid))
}

// Reclaim removes what is left of those attachments of a network that are provably dead, such as of
// containers whose namespace went without a [Detach], or that lived before the host's last boot.
// Whatever isn't proven dead is left alone. It's for timers: it needs no list. Errors and waits are
// those of [GC].
func Reclaim(ctx context.Context, n *Network) error {
	if n.err != nil {
		return n.err
	}
	return fault.Join(n.reclaim(ctx, &n.told))
}

// Status reports whether the next Attach can be expected to succeed: nil, or an *Error with
// [CodeUnavailable] (it can't) or [CodeLimited] (it can't, and existing attachments lack something
// too). It changes nothing. ctx bounds the wait for the lock of the leases, and an IPAM plugin that
// is a program of its own.
func Status(ctx context.Context, n *Network) error {
	if n.err != nil {
		return n.err
	}
	return fault.Join(n.status(ctx, &n.told))
}
