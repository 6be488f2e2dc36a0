// SPDX-License-Identifier: Apache-2.0

// Package rtnl changes links, addresses, routes and neighbours through rtnetlink.
//
// A [Batch] is a list of changes, built in memory without a system call. A [Conn] is a socket in one network
// namespace. [Conn.Do] sends a batch at once and, when all goes well, reads one answer. A change is a verb and
// a noun: [Batch.Create], [Batch.Ensure], [Batch.Set] or [Batch.Delete] of a [Link], [Veth], [Bridge], [Addr],
// [Route], [Neigh], [Port], [PortVLAN], [TBF], [Ingress], [Redirect] or [Rule].
//
//	var b rtnl.Batch
//	b.Create(rtnl.Veth{Link: rtnl.Link{Name: "host0", State: rtnl.Up}, Peer: rtnl.Link{Name: "eth0", NetNS: ns}})
//	err := conn.Do(&b)
//
// Zero means unset everywhere: a zero field isn't sent. Where zero is a real value, a named one stands for it
// ([NoMaster], [Off]). Errors of the kernel are [*Error]s that name the change; what's absent is
// [io/fs.ErrNotExist] and what's taken is [io/fs.ErrExist], whatever errno the kernel picked.
//
// A batch is no transaction: the kernel carries on after a change that it refuses, and so [Refused] lists all.
//
// Look-ups come in two sorts. [Conn.Index], [Conn.Name], [Conn.MAC] and [Conn.Flags] are one ioctl(2) on the same
// socket and take no lock that changes take. [Conn.Link] and its like are messages, and tell everything.
package rtnl
