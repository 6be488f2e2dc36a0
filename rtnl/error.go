// SPDX-License-Identifier: Apache-2.0

package rtnl

import (
	"errors"
	"io/fs"
	"strings"
	"syscall"
)

// Error is a change that was refused:
//
//	create address 10.1.0.2/24 dev eth0: file exists (ipv4: Address already assigned)
//
// errors.Is knows it as [io/fs.ErrNotExist], [io/fs.ErrExist] or [io/fs.ErrPermission], and as its
// errno.
type Error struct {
	// Change is the refused change, or the look-up, as the batch prints it. It's decoded from the
	// message's bytes after the refusal, so that success pays nothing for it.
	Change string
	// Step is the change's place in its batch, counted from 0.
	Step int
	// Reason is the kernel's extended acknowledgement (NLMSGERR_ATTR_MSG). It may be empty.
	Reason string
	// Errno is the kernel's error number. On creating a veth, EBUSY means that its peer's index is
	// in use. EEXIST means that the first end's index is in use, or the name of either end.
	Errno syscall.Errno
}

func (e *Error) Error() string {
	s := e.Change + ": " + e.Errno.Error()
	if e.Reason != "" {
		s += " (" + e.Reason + ")"
	}
	return s
}

// Unwrap returns the errno.
func (e *Error) Unwrap() error { return e.Errno }

// Is gives absence and presence one name each. rtnetlink has several: ENODEV for a missing link,
// EADDRNOTAVAIL for an address, ESRCH for a route and ENOENT for a neighbour.
func (e *Error) Is(target error) bool {
	switch target {
	case fs.ErrNotExist:
		switch e.Errno {
		case syscall.ENODEV, syscall.EADDRNOTAVAIL, syscall.ESRCH, syscall.ENOENT:
			return true
		}
	case fs.ErrExist:
		return e.Errno == syscall.EEXIST
	case fs.ErrPermission:
		return e.Errno == syscall.EPERM || e.Errno == syscall.EACCES
	}
	return false
}

// Refused lists the changes of a batch that the kernel refused, in the order of their steps. It has
// at least one. All other changes were made. errors.As finds the first, errors.Is asks all.
type Refused []*Error

func (r Refused) Error() string {
	s := make([]string, len(r))
	for i, e := range r {
		s[i] = e.Error()
	}
	return strings.Join(s, "; ")
}

// Unwrap returns the refusals.
func (r Refused) Unwrap() []error {
	errs := make([]error, len(r))
	for i, e := range r {
		errs[i] = e
	}
	return errs
}

// as finds the first error of type E in err's tree, as errors.AsType of Go 1.26 does.
func as[E error](err error) (found E, ok bool) {
	ok = errors.As(err, &found)
	return found, ok
}
