// SPDX-License-Identifier: Apache-2.0

// Package ipam gives addresses to containers, and keeps a lease of each.
//
// It works on host-local's directory, to the byte: a file per lease, named by its address, in
// dataDir/NETWORK, with the same lock. Both can work on one directory at once. What host-local
// finds by reading every file, this package finds in a sidecar at dataDir/.swiftcni/NETWORK: one
// symbolic link per [Owner], whose target text is its [Record]. Nobody follows those links.
// symlink(2) publishes a record whole and readlink(2) reads it whole, each in one system call.
//
// The sidecar is trusted only while no other program has changed the leases. Each change ends by
// setting the lease directory's modification time to a mark that only this package makes (see
// mark); whoever else adds or removes a file makes the kernel overwrite it, and so does a crash
// midway. Without the mark, the next operation reads all leases once, repairs the sidecar and sets
// it.
//
// A [Store] holds the lock from [Open] to [Store.Close], so it belongs to one goroutine and should
// be short.
//
//	s, err := ipam.Open(ctx, dir, "mynet")
//	leases, err := s.Reserve(ipam.Request{Owner: owner, Sets: sets})
//	err = s.Close()
package ipam
