// SPDX-License-Identifier: Apache-2.0

// Package cni attaches containers to networks as the Container Network Interface asks for it
// (https://www.cni.dev/docs/spec, versions 0.1.0 to 1.1.0), as a plugin or inside another program.
//
// An attachment goes through six stops, and data flows one way: [Main] takes arguments, environment
// and input; [Parse] turns a configuration into a [Network], and every wrong input ends there,
// before anything is touched; package ipam reserves addresses; a plan, computed without I/O, says
// all that will be done; running it sends two batches through rtnetlink and one through nftables,
// and undoes what it did when one is refused; the [Result] is printed in the form of the version
// asked for.
//
// An embedder calls [Attach], [Detach] and the other verbs directly, with a network that [Parse]
// has read once: of one plugin, whose name is its key "type", or of a list of them. All may be
// called from many goroutines at once, and none reads the program's environment. Errors are of type
// *[Error]. A program that makes many calls makes them by a [Client], which keeps its sockets.
// docs/embedding.md tells more.
//
// Caveats: the caller must be root in the host's network namespace. A context bounds waits for
// locks and the programs that an attachment delegates to, not system calls: the kernel's part takes
// about a millisecond and isn't interrupted halfway.
package cni
