// SPDX-License-Identifier: Apache-2.0

package spec

import "github.com/swiftcni/swiftcni/internal/jsontext"

// Codes of the specification ("Error" and "STATUS") and, from 100, of this plugin.
const (
	CodeIncompatibleVersion uint = 1
	CodeInvalidEnvironment  uint = 4
	CodeIO                  uint = 5
	CodeDecode              uint = 6
	CodeInvalidNetwork      uint = 7
	CodeInvalidNetNS        uint = 8
	CodeTryAgain            uint = 11
	CodeInternal            uint = 999

	// CodeUnavailable and CodeLimited are answers to STATUS: no ADD can succeed. With CodeLimited,
	// existing attachments may have limited connectivity too.
	CodeUnavailable uint = 50
	CodeLimited     uint = 51

	CodeExhausted uint = 100 // no address is left in a range
	// CodeAttached: the container has this attachment, or another owner has the things that it asks
	// for.
	CodeAttached  uint = 101
	CodePortTaken uint = 102 // another container has a port of the host that ADD asks for
)

// An Error is an error of the specification. It's the only error type of package cni's functions.
// errors.As and errors.Is find the cause.
type Error struct {
	Code uint
	Msg  string // the reference's own text, if it has one
	// Details add to Msg: the key's path, the expected value, the refused change. May be empty.
	Details string
	Key     string // the wrong configuration key or variable; may be empty
	Err     error  // the cause: *rtnl.Error, *nft.Error, *ipam.ExhaustedError, …; may be nil
}

func (e *Error) Error() string {
	if e.Details == "" {
		return e.Msg
	}
	return e.Msg + "; " + e.Details
}

// Unwrap returns the cause.
func (e *Error) Unwrap() error { return e.Err }

// ofText makes an error about a value of a text.
func ofText(e *jsontext.Error) *Error {
	return &Error{Code: CodeInvalidNetwork, Msg: e.Msg, Details: e.Details, Key: e.Path, Err: e}
}
