// SPDX-License-Identifier: Apache-2.0

// Package nft keeps swiftcni's part of the nftables ruleset: masquerade, and the guard against spoofed MACs.
//
// Rules never depend on who is attached, or where. One rule masquerades, one more for each length of a subnet leaves alone what
// stays in its subnet, and one guards; they look into sets, and a [Sender] is a few elements of these: the
// address in masq4, and the address with its subnet in own4-24. So attaching is one small transaction, what a packet pays
// grows neither with attachments nor with subnets, and each element says in its comment whose it is (an
// [Owner]): detaching and garbage collection need no database. What has no members goes with the next [Conn.Detach] or build
// that sees it, but for what was used last, and with [Conn.Tidy]; these take over what earlier versions made, too.
//
// A [Conn] is a socket in one network namespace. [Conn.Attach] sends elements only, and builds the
// [Ruleset] when the kernel says that it isn't there; nothing is asked first. Look-ups are by key, never
// by listing, except in [Conn.DetachOwner], [Conn.DetachExcept] and [Conn.Senders].
//
// An [Allowance] lets a container's addresses through the host's firewall in the same manner ([Conn.Allow], [Conn.Revoke]); it's
// the one thing for which other tables, those that iptables-nft keeps, get rules of ours: three, in xtables' own form.
//
// Every change is one transaction: all of it happens, or nothing.
//
// Neither the nft nor the iptables program is needed. The kernel must have nf_tables with the families
// inet (and bridge, for the guard) and masquerade in inet (Linux 5.2): what is missing is named by an
// [UnsupportedError].
//
// Choices that measurement made. The sets aren't verdict maps, since the kernel validates all gotos of a
// map at each commit that adds one: 32 µs with one element became 464 with 10,000, where a set's stay at 25.
// An RCU grace period, about 10 ms, is paid where the kernel refuses a transaction, and where a socket is closed
// ([Conn.Close], or the end of the process) after elements were deleted. Neither is on the way of an Attach
// whose subnet and address are as they should be.
package nft
