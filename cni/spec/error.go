// SPDX-License-Identifier: Apache-2.0

package spec

import (
	"github.com/containernetworking/cni/pkg/types"
	"github.com/swiftcni/swiftcni/internal/jsontext"
)

// Codes of the specification ("Error" and "STATUS") and, from 100, of this plugin.
const (
	CodeIncompatibleVersion = types.ErrIncompatibleCNIVersion // 1
	CodeInvalidEnvironment  = types.ErrInvalidEnvironmentVariables
	CodeIO                  = types.ErrIOFailure
	CodeDecode              = types.ErrDecodingFailure
	CodeInvalidNetwork      = types.ErrInvalidNetworkConfig
	CodeInvalidNetNS        = types.ErrInvalidNetNS
	CodeTryAgain            = types.ErrTryAgainLater
	CodeInternal            = types.ErrInternal

	// CodeUnavailable and CodeLimited are answers to STATUS: no ADD can succeed; and in addition
	// existing attachments may have limited connectivity.
	CodeUnavailable = types.ErrPluginNotAvailable  // 50
	CodeLimited     = types.ErrLimitedConnectivity // 51

	CodeExhausted uint = 100 // no address is left in a range
	CodeAttached  uint = 101 // the container has this attachment, or another owner holds what it asks for
	CodePortTaken uint = 102 // another container has a port of the host that ADD asks for
)

// An Error is an error as the specification knows it. It's the one error type of package cni's functions.
type Error struct {
	Code    uint
	Msg     string // the reference's own text, where it has one
	Details string // what can be said beyond it: the key's path, what was expected, which change was refused; may be empty
	Key     string // the configuration key or variable at fault, may be empty
	Err     error  // the cause, may be nil: *rtnl.Error, *nft.Error, *ipam.ExhaustedError, …
}

func (e *Error) Error() string {
	if e.Details == "" {
		return e.Msg
	}
	return e.Msg + "; " + e.Details
}

// Unwrap returns the cause.
func (e *Error) Unwrap() error { return e.Err }

// As fills a *types.Error, the type that libcni's callers know.
func (e *Error) As(target any) bool {
	if t, ok := target.(**types.Error); ok {
		*t = &types.Error{Code: e.Code, Msg: e.Msg, Details: e.Details}
		return true
	}
	return false
}

// ofText makes an error about a value of a text.
func ofText(e *jsontext.Error) *Error {
	return &Error{Code: CodeInvalidNetwork, Msg: e.Msg, Details: e.Details, Key: e.Path, Err: e}
}
