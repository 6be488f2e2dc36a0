// SPDX-License-Identifier: Apache-2.0

package cni

import (
	"errors"
	"strconv"

	"github.com/containernetworking/cni/pkg/types"
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
)

// Error is the one error type of this package's functions. It prints as the specification's error object.
type Error struct {
	Code    uint
	Msg     string
	Details string // may be empty
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

// appendJSON prints the error object, with the version that the caller asked for.
func (e *Error) appendJSON(b []byte, version string) []byte {
	w := newWriter(b)
	w.open('{')
	if version != "" {
		w.key("cniVersion").str(version)
	}
	w.key("code").raw(strconv.FormatUint(uint64(e.Code), 10))
	w.key("msg").str(e.Msg)
	if e.Details != "" {
		w.key("details").str(e.Details)
	}
	w.close('}')
	return w.b
}

// asError gives any error a code: its own, or 999.
func asError(err error) *Error {
	var e *Error
	if errors.As(err, &e) {
		if e.Error() == err.Error() {
			return e
		}
		// Somebody has said more on the way up; keep code and cause, tell the longer story.
		return &Error{Code: e.Code, Msg: err.Error(), Key: e.Key, Err: err}
	}
	return &Error{Code: CodeInternal, Msg: err.Error(), Err: err}
}

// failed wraps a cause of the system, code 999, as "what: cause".
func failed(what string, err error) error {
	if err == nil {
		return nil
	}
	return &Error{Code: CodeInternal, Msg: what + ": " + err.Error(), Err: err}
}

// invalidKey is a configuration error that names its key and what was expected.
func invalidKey(key, msg string) *Error {
	return &Error{Code: CodeInvalidNetwork, Msg: msg, Key: key}
}
