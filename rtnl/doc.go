// SPDX-License-Identifier: Apache-2.0

// Package rtnl changes links, addresses, routes and neighbours through rtnetlink.
//
// A [Batch] is a list of changes, built in memory without a system call. A [Conn] is a socket in
// one network namespace. [Conn.Do] sends a batch at once and, in the common case, reads one answer.
// A change is a verb and a noun: [Batch.Create], [Batch.Ensure], [Batch.Set] or [Batch.Delete] of a
// [Link], [Veth], [Bridge], [Macvlan], [IPVLAN], [VLAN], [VRF], [AltName], [Addr], [Route],
// [Neigh], [Port], [PortVLAN], [TBF], [Ingress], [Redirect] or [Rule]. [CreateTap] makes a tap, by
// the only way there is.
//
//	var b rtnl.Batch
//	b.Create(rtnl.Veth{
//		Link: rtnl.Link{Name: "host0", State: rtnl.Up},
//		Peer: rtnl.Link{Name: "eth0", NetNS: ns},
//	})
//	err := conn.Do(&b)
//
// Zero means unset everywhere: a zero field isn't sent. If zero is a real value, a named one stands
// for it ([NoMaster], [Off]). An error of the kernel is an [*Error] that names the change. It is
// [io/fs.ErrNotExist] for a missing object and [io/fs.ErrExist] for a name or an index in use,
// whatever errno the kernel picked.
//
// A batch takes objects, and look-ups return them. What only the kernel can say of one is beside
// it, in a [LinkState], [AddrState] or [RuleState].
//
// A batch isn't a transaction. The kernel carries on after a change that it refuses, so [Refused]
// lists all refusals.
//
// Each call waits for the kernel, which changes links for one program at a time (RTNL). That
// usually takes microseconds. If another program removes many links, it takes as long as the
// removal. A listing is read as a whole before anything is yielded, and starts again if a change
// overtakes it. Its error is yielded last: an [*Error], [ErrInterrupted] or the socket's. A
// socket's error wraps the system call's errno. A timeout bounds the wait for an event, not that
// for RTNL.
//
// There are two sorts of look-ups. [Conn.Index], [Conn.Name], [Conn.MAC], [Conn.MTU] and
// [Conn.Flags] are one ioctl(2) on the same socket, and wait for no change. [Conn.Link] and its
// like are messages, and tell everything.
package rtnl
