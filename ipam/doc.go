// SPDX-License-Identifier: Apache-2.0

// Package ipam gives addresses to containers, and keeps a lease of each.
//
// It works on host-local's directory, to the byte: a file for each lease, named by its address, in
// dataDir/NETWORK, with the same lock. Both can work on one directory at once. host-local finds an
// owner's leases by reading every file. This package finds them in a sidecar at
// dataDir/.swiftcni/NETWORK: one symbolic link for each [Owner], whose target text is its [Record].
// Nobody follows those links. symlink(2) publishes a record whole and readlink(2) reads it whole,
// each in one system call.
//
// The sidecar is trusted only while no other program has changed the leases. Each change ends by
// setting the lease directory's modification time to a mark that only this package makes (see
// mark). If another program adds or removes a file, the kernel overwrites the mark. A crash midway
// leaves no mark either. Without the mark, the next operation reads all leases once, repairs the
// sidecar and sets the mark.
//
// A [Store] holds the lock from [Open] to [Store.Close]. So it belongs to one goroutine, and should
// be closed soon.
//
//	s, err := ipam.Open(ctx, dir, "mynet")
//	leases, err := s.Reserve(ipam.Request{Owner: owner, Sets: sets})
//	err = s.Close()
package ipam
