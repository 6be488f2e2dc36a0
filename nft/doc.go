// SPDX-License-Identifier: Apache-2.0

// Package nft keeps swiftcni's part of the nftables ruleset: masquerade, the guard against spoofed
// MACs, port mappings, and the way through the host's firewall.
//
// Rules never depend on the containers. One rule masquerades, one rule for each length of a subnet
// leaves traffic within a subnet alone, and one rule guards. They look into sets, and a [Sender] is
// a few elements of these sets: the address in masq4, and the address with its subnet in own4-24.
// So attaching is one small transaction, and a packet's cost grows neither with containers nor with
// subnets. Each element names its [Owner] in its comment, so detaching and garbage collection need
// no database. A set without members is removed by the next [Conn.Detach] or build that sees it,
// unless it was the last in use, and by [Conn.Tidy]. These also take over the rules and sets of
// earlier versions.
//
// A [Conn] is a socket in one network namespace. [Conn.Attach] sends only elements, and asks
// nothing first. It builds the [Ruleset] when the kernel says that it's missing. Look-ups are by
// key, never by listing, except in [Conn.DetachOwner], [Conn.DetachExcept] and [Conn.Senders].
//
// A [Publication] maps ports of the host to a container ([Conn.Publish], [Conn.Unpublish]).
//
// An [Allowance] lets a container's addresses through the host's firewall ([Conn.Allow],
// [Conn.Revoke]). Only for this do tables of another program, those that iptables-nft keeps, get
// rules of ours: three, in xtables' own form.
//
// Every change is one transaction: all of it happens, or nothing. A call waits only for the kernel.
// It takes microseconds, some 10 ms (an RCU grace period) if the kernel refuses a transaction, and
// a time that grows with the elements or rules if the kernel lists them. A change that other
// programs' changes overtake begins anew, up to 200 times ([ErrInterrupted]).
//
// Neither the nft nor the iptables program is needed. The kernel must have nf_tables with the
// families inet (and bridge, for the guard) and masquerade in inet (Linux 5.2). An
// [UnsupportedError] names the missing feature.
//
// These choices were made by measurement. The sets aren't verdict maps, since the kernel validates
// all gotos of a map at each commit that adds one: 32 µs with one element became 464 with 10,000,
// while a set's cost stays at 25. An RCU grace period, about 10 ms, is paid if the kernel refuses a
// transaction. It's also paid if a socket is closed ([Conn.Close], or the end of the process) after
// elements were deleted. An Attach does neither if its subnet's set is there and its address is free.
package nft
