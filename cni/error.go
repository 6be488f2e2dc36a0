// SPDX-License-Identifier: Apache-2.0

package cni

import (
	"strconv"

	"github.com/swiftcni/swiftcni/cni/spec"
	"github.com/swiftcni/swiftcni/internal/jsontext"
)

// Error is the one error type of this package's functions.
type Error = spec.Error

// Codes of errors, which package spec explains.
const (
	CodeIncompatibleVersion = spec.CodeIncompatibleVersion
	CodeInvalidEnvironment  = spec.CodeInvalidEnvironment
	CodeIO                  = spec.CodeIO
	CodeDecode              = spec.CodeDecode
	CodeInvalidNetwork      = spec.CodeInvalidNetwork
	CodeInvalidNetNS        = spec.CodeInvalidNetNS
	CodeTryAgain            = spec.CodeTryAgain
	CodeInternal            = spec.CodeInternal
	CodeUnavailable         = spec.CodeUnavailable
	CodeLimited             = spec.CodeLimited
	CodeExhausted           = spec.CodeExhausted
	CodeAttached            = spec.CodeAttached
	CodePortTaken           = spec.CodePortTaken
)

// errorText prints the specification's error object, with the version that the caller asked for.
func errorText(e *Error, version string) []byte {
	w := jsontext.NewWriter(nil)
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
