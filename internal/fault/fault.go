// SPDX-License-Identifier: Apache-2.0

// Package fault turns any error into an error of the specification.
package fault

import (
	"errors"
	"io/fs"
	"strconv"
	"strings"

	"github.com/swiftcni/swiftcni/cni/spec"
	"github.com/swiftcni/swiftcni/internal/jsontext"
	"github.com/swiftcni/swiftcni/rtnl"
)

// Of gives any error a code: its own, or 999.
func Of(err error) *spec.Error {
	var e *spec.Error
	if errors.As(err, &e) {
		if e.Error() == err.Error() {
			return e
		}
		return longer(e, err)
	}
	return &spec.Error{Code: spec.CodeInternal, Msg: err.Error(), Err: err}
}

// longer keeps code and cause of an error to which err adds words.
func longer(e *spec.Error, err error) *spec.Error {
	more := *e
	more.Err = err
	if rest, ok := strings.CutPrefix(err.Error(), e.Error()); ok {
		more.Details = strings.TrimPrefix(e.Details+"\n"+strings.TrimSpace(rest), "\n")
	} else {
		more.Msg, more.Details = err.Error(), ""
	}
	return &more
}

// Join is errors.Join as a *spec.Error.
func Join(errs ...error) error {
	if err := errors.Join(errs...); err != nil {
		return Of(err)
	}
	return nil
}

// Wrap wraps a system error, code 999, as "what: cause". If the kernel refused a change, the
// message has only the kernel's error, as the reference's has, and the details name the change. A
// nil error stays nil.
func Wrap(what string, err error) error {
	if err == nil {
		return nil
	}
	e := &spec.Error{Code: spec.CodeInternal, Msg: what + ": " + err.Error(), Err: err}
	if refused := (*rtnl.Error)(nil); errors.As(err, &refused) {
		e.Msg, e.Details = what+": "+refused.Errno.Error(), err.Error()
	}
	return e
}

// Wrong is a state that isn't as it should be, code 999.
func Wrong(msg string) *spec.Error { return &spec.Error{Code: spec.CodeInternal, Msg: msg} }

// Unavailable is the answer of STATUS if no ADD can succeed. The cause may be nil.
func Unavailable(what string, err error) error {
	e := &spec.Error{Code: spec.CodeUnavailable, Msg: what, Err: err}
	if err != nil {
		e.Details = err.Error()
	}
	return e
}

// Unsupported forgives an error of nftables when there is only something to remove: a kernel
// without nftables holds no elements.
func Unsupported(err error) error {
	if errors.Is(err, errors.ErrUnsupported) {
		return nil
	}
	return Wrap("clean up nftables", err)
}

// Key is a configuration error that names its key.
func Key(key, msg string) *spec.Error {
	return &spec.Error{Code: spec.CodeInvalidNetwork, Msg: msg, Key: key}
}

// Expected is Key with the expected value, if that isn't empty.
func Expected(key, msg, expected string) *spec.Error {
	e := Key(key, msg)
	e.Details = strings.TrimSuffix(key+": expected "+expected, ": expected ")
	return e
}

// Args is an error of CNI_ARGS.
func Args(msg string) *spec.Error {
	return &spec.Error{Code: spec.CodeInvalidEnvironment, Msg: msg, Key: "CNI_ARGS"}
}

// Missing is the error of a missing variable.
func Missing(variable string) *spec.Error {
	return &spec.Error{Code: spec.CodeInvalidEnvironment, Msg: "required env variables [" + variable + "] missing", Key: variable}
}

// Because adds a reason or a further fact to an error, and returns it.
func Because(e *spec.Error, details string) *spec.Error {
	e.Details = details
	return e
}

// During is an error with the action during which it happened. A nil error stays nil.
func During(what string, e *spec.Error) *spec.Error {
	if e == nil {
		return nil
	}
	longer := *e
	longer.Msg = what + ": " + e.Msg
	return &longer
}

// OfText makes an error about a value of a configuration.
func OfText(e *jsontext.Error) *spec.Error {
	return &spec.Error{Code: spec.CodeInvalidNetwork, Msg: e.Msg, Details: e.Details, Key: e.Path}
}

// Note notes an error about a value that a reader reads.
func Note(r *jsontext.Reader, e *spec.Error) {
	r.Note(&jsontext.Error{Path: e.Key, Msg: e.Msg, Details: e.Details})
}

// First is the first error in a configuration that a reader has read, or nil. err is the error that
// ended its walk.
func First(r *jsontext.Reader, err error) *spec.Error {
	switch {
	case err != nil:
		return Decode(err)
	case r.First != nil:
		return OfText(r.First)
	}
	return nil
}

// Decode is the error for a configuration that isn't JSON.
func Decode(err error) *spec.Error {
	e := &spec.Error{Code: spec.CodeDecode, Msg: "error unmarshall network config: " + err.Error(), Err: err}
	if syntax, ok := err.(*jsontext.SyntaxError); ok {
		e.Details = "at byte " + strconv.Itoa(syntax.Pos)
	}
	return e
}

// Absent reports whether an error says that something doesn't exist.
func Absent(err error) bool { return errors.Is(err, fs.ErrNotExist) }

// OnlyAbsent reports whether every refusal was for something that is gone already.
func OnlyAbsent(err error) bool {
	var refused rtnl.Refused
	if !errors.As(err, &refused) {
		return Absent(err)
	}
	for _, e := range refused {
		if !Absent(e) {
			return false
		}
	}
	return true
}
