// SPDX-License-Identifier: Apache-2.0

package nft

import (
	"errors"
	"fmt"
	"syscall"
)

// An Error is a change or look-up that the kernel refused. Its Errno is there for errors.Is, also
// as fs.ErrNotExist, fs.ErrExist and fs.ErrPermission.
type Error struct {
	Change string // "create element inet swiftcni masq4"
	// Step is the place among the changes or look-ups of one send, from 0. [Whole] is none of them.
	Step   int
	Reason string        // the kernel's own text, if it gave one
	Errno  syscall.Errno // why

	options string // options of the kernel that the change needs
}

// Whole, as [Error.Step], is the transaction as a whole.
const Whole = -1

func (e *Error) Error() string {
	s := "nft: " + e.Change + ": " + e.Errno.Error()
	if e.Reason != "" {
		s += " (" + e.Reason + ")"
	}
	return s
}

func (e *Error) Unwrap() error { return e.Errno }

// An UnsupportedError says which feature the running kernel lacks. It is errors.ErrUnsupported.
type UnsupportedError struct {
	Missing string // "nf_tables (CONFIG_NF_TABLES)"
	Err     error  // how it showed: an *Error, or a system call's
}

func (e *UnsupportedError) Error() string {
	return fmt.Sprintf("nft: this kernel lacks %s: %v", e.Missing, e.Err)
}

func (e *UnsupportedError) Unwrap() error { return e.Err }

// Is makes errors.Is(err, errors.ErrUnsupported) true.
func (e *UnsupportedError) Is(target error) bool { return target == errors.ErrUnsupported }

// A MissingError says what [Conn.CheckSender] and its like found absent or different. It is
// fs.ErrNotExist.
type MissingError struct {
	Owner Owner
	// What names the thing: "element inet swiftcni masq4 10.1.0.2" or "rules of chain inet swiftcni
	// postrouting".
	What  string
	Found string // the thing in its place, or its owner; "" is nothing
}

func (e *MissingError) Error() string {
	s := fmt.Sprintf("nft: %s: %s is missing", e.Owner, e.What)
	if e.Found != "" {
		s += ", found " + e.Found
	}
	return s
}

// Is makes errors.Is(err, fs.ErrNotExist) true.
func (e *MissingError) Is(target error) bool { return syscall.ENOENT.Is(target) }

func hasErrno(err error, errnos ...syscall.Errno) bool {
	var e *Error
	if !errors.As(err, &e) {
		return false
	}
	for _, n := range errnos {
		if e.Errno == n {
			return true
		}
	}
	return false
}

// errChanged says that the ruleset changed while it was listed.
var errChanged = errors.New("nft: the ruleset changed while it was listed")

// explain turns a refusal that shows a missing feature of the kernel into an UnsupportedError.
func (e *Error) explain() error {
	if e.Errno == syscall.EOPNOTSUPP || e.Errno == syscall.EAFNOSUPPORT {
		missing := "nf_tables (CONFIG_NF_TABLES)"
		if e.Step != Whole {
			missing = "the nf_tables family or feature that it takes to " + e.Change
			if e.options != "" {
				missing += " (" + e.options + ")"
			}
		}
		return &UnsupportedError{Missing: missing, Err: e}
	}
	return e
}

// lacking is explain for a transaction that creates everything that it refers to. ENOENT then is a
// kind of object that the kernel doesn't know.
func lacking(err error) error {
	var e *Error
	if !errors.As(err, &e) || e.Errno != syscall.ENOENT {
		return err
	}
	missing := "the kind of object that it takes to " + e.Change
	if e.options != "" {
		missing += " (" + e.options + ")"
	}
	return &UnsupportedError{Missing: missing, Err: e}
}
