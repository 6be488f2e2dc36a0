// SPDX-License-Identifier: Apache-2.0

// Package nft keeps swiftcni's part of the nftables ruleset: masquerade, and the guard against spoofed MACs.
//
// Rules never depend on who is attached. They stand once per host and once per subnet, and look into sets
// and verdict maps; an [Attachment] is a few elements of these. So attaching is one small transaction,
// what a packet pays doesn't grow with the attachments, and each element says in its comment whose it is
// (an [Owner]): detaching and garbage collection need no database.
//
// A [Conn] is a socket in one network namespace. [Conn.Attach] sends elements only, and builds the
// [Ruleset] when the kernel says that it isn't there; nothing is asked first. Look-ups are by key, never
// by listing, except in [Conn.DetachOwner], [Conn.DetachExcept] and [Conn.Attachments].
//
// Every change is one transaction: all of it happens, or nothing.
//
// Neither the nft nor the iptables program is needed. The kernel must have nf_tables with the families
// inet (and bridge, for the guard) and masquerade in inet (Linux 5.2): what is missing is named by an
// [UnsupportedError].
package nft
