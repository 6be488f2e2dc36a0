// SPDX-License-Identifier: Apache-2.0

package ipam

import (
	"errors"
	"io/fs"
	"net/netip"
	"strconv"
)

var (
	// ErrReadOnly is returned for a change through a store that [OpenReadOnly] opened.
	ErrReadOnly = errors.New("the lease store was opened for reading")

	// ErrInvalid is wrapped by the error for a request, an owner or a name that can't be used.
	ErrInvalid = errors.New("invalid")

	errLongLine = errors.New("resolv.conf: line too long")
	// errRebuild says that this boot has no link in the sidecar yet, or that the sidecar is missing
	// or damaged.
	errRebuild = errors.New("the index must be rebuilt")
	// errUnmarked says that the sidecar can't be trusted, and can't be mended.
	errUnmarked = errors.New("the index doesn't agree with the leases")
)

// invalidError is an [ErrInvalid] with its reason.
type invalidError string

func (e invalidError) Error() string        { return string(e) }
func (e invalidError) Is(target error) bool { return target == ErrInvalid }

// SetError is the failure of a reservation in one range set.
type SetError struct {
	Set int // its place in the request
	Err error
}

func (e *SetError) Error() string {
	return "failed to allocate for range " + strconv.Itoa(e.Set) + ": " + e.Err.Error()
}

// Unwrap returns the reason: a [*DuplicateError], [*TakenError], [*GatewayError], [*ExhaustedError]
// or [*fs.PathError].
func (e *SetError) Unwrap() error { return e.Err }

// DuplicateError refuses an owner a second address of one range set.
type DuplicateError struct {
	Owner Owner
	Addr  netip.Addr // the address that it holds already
}

func (e *DuplicateError) Error() string {
	return e.Addr.String() + " has been allocated to " + e.Owner.ContainerID + ", duplicate allocation is not allowed"
}

// Is makes it an fs.ErrExist.
func (e *DuplicateError) Is(target error) bool { return target == fs.ErrExist }

// TakenError refuses a requested address that has a lease.
type TakenError struct {
	Addr     netip.Addr
	RangeSet RangeSet
	Owner    Owner // the owner that holds it, as far as that can be read
}

func (e *TakenError) Error() string {
	return "requested IP address " + e.Addr.String() + " is not available in range set " + e.RangeSet.String()
}

// Is makes it an fs.ErrExist.
func (e *TakenError) Is(target error) bool { return target == fs.ErrExist }

// GatewayError refuses a requested address that is its range's gateway.
type GatewayError struct{ Addr netip.Addr }

func (e *GatewayError) Error() string {
	return "requested ip " + e.Addr.String() + " is subnet's gateway"
}

// UnusedError lists requested addresses that no range set could serve.
type UnusedError struct{ Addrs []netip.Addr }

func (e *UnusedError) Error() string {
	text := "failed to allocate all requested IPs:"
	for _, a := range e.Addrs {
		text += " " + a.String()
	}
	return text
}

// ExhaustedError says that every address of a range set has a lease, and how many of these may be
// reclaimed.
type ExhaustedError struct {
	Set      int // its place in the request
	RangeSet RangeSet
	Leases   int // in this set
	Stale    int // of these, provably dead, but not removable
	Unproven int // of these, without evidence: leases of host-local, which only DEL and GC may end
}

func (e *ExhaustedError) Error() string {
	return "no IP addresses available in range set: " + e.RangeSet.String() + " (" +
		strconv.Itoa(e.Leases) + " leases, " + strconv.Itoa(e.Stale) + " stale, " +
		strconv.Itoa(e.Unproven) + " without evidence of their owner; `swiftctl gc` releases those of containers that are gone)"
}

// pathError names the file of a failed system call.
func (s *Store) pathError(op, name string, err error) error {
	return &fs.PathError{Op: op, Path: s.dir + "/" + name, Err: err}
}
