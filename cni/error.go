// SPDX-License-Identifier: Apache-2.0

package cni

import (
	"errors"
	"strconv"
	"strings"

	"github.com/containernetworking/cni/pkg/types"
	"github.com/swiftcni/swiftcni/internal/jsontext"
	"github.com/swiftcni/swiftcni/rtnl"
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

// appendJSON prints the error object, with the version that the caller asked for.
func (e *Error) appendJSON(b []byte, version string) []byte {
	w := jsontext.NewWriter(b)
	w.Open('{')
	if version != "" {
		w.Key("cniVersion").Str(version)
	}
	w.Key("code").Raw(strconv.FormatUint(uint64(e.Code), 10))
	w.Key("msg").Str(e.Msg)
	if e.Details != "" {
		w.Key("details").Str(e.Details)
	}
	w.Close('}')
	return w.Bytes()
}

// asError gives any error a code: its own, or 999.
func asError(err error) *Error {
	var e *Error
	if errors.As(err, &e) {
		if e.Error() == err.Error() {
			return e
		}
		return e.longer(err)
	}
	return &Error{Code: CodeInternal, Msg: err.Error(), Err: err}
}

// longer keeps code and cause of an error that err says more about.
func (e *Error) longer(err error) *Error {
	more := *e
	more.Err = err
	if rest, ok := strings.CutPrefix(err.Error(), e.Error()); ok {
		more.Details = strings.TrimPrefix(e.Details+"\n"+strings.TrimSpace(rest), "\n")
	} else {
		more.Msg, more.Details = err.Error(), ""
	}
	return &more
}

// failed wraps a cause of the system, code 999, as "what: cause". Of a change that the kernel refused the message has the
// kernel's error alone, as the reference's, and the details which change it was.
func failed(what string, err error) error {
	if err == nil {
		return nil
	}
	e := &Error{Code: CodeInternal, Msg: what + ": " + err.Error(), Err: err}
	if refused := (*rtnl.Error)(nil); errors.As(err, &refused) {
		e.Msg, e.Details = what+": "+refused.Errno.Error(), err.Error()
	}
	return e
}

// keyError makes an error about a value of a configuration.
func keyError(e *jsontext.Error) *Error {
	return &Error{Code: CodeInvalidNetwork, Msg: e.Msg, Details: e.Details, Key: e.Path}
}

// firstError is what is wrong with a text that a reader has read, or nil. err is what its walk ended with.
func firstError(r *jsontext.Reader, err error) *Error {
	switch {
	case err != nil:
		return asError(decodeError(err))
	case r.First != nil:
		return keyError(r.First)
	}
	return nil
}

// note notes an error about the value at hand.
func note(r *jsontext.Reader, e *Error) {
	r.Note(&jsontext.Error{Path: e.Key, Msg: e.Msg, Details: e.Details})
}

// invalidKey is a configuration error that names its key and what was expected.
func invalidKey(key, msg string) *Error {
	return &Error{Code: CodeInvalidNetwork, Msg: msg, Key: key}
}

// expecting adds to what the reference says which key is meant, and what was expected of it if that isn't empty.
func (e *Error) expecting(expected string) *Error {
	e.Details = strings.TrimSuffix(e.Key+": expected "+expected, ": expected ")
	return e
}

// because adds a reason, or what is known besides.
func (e *Error) because(details string) *Error {
	e.Details = details
	return e
}

// during prefixes what was done when it happened. A nil error stays nil.
func (e *Error) during(what string) *Error {
	if e == nil {
		return nil
	}
	longer := *e
	longer.Msg = what + ": " + e.Msg
	return &longer
}
