// SPDX-License-Identifier: Apache-2.0

// Package jsontext reads and writes JSON without reflection, which would cost a fresh process more
// than all other work on a configuration or a result. It accepts and refuses the same texts as
// encoding/json, and in the same words.
package jsontext

import "strings"

// An Error is a wrong value in a text that is JSON.
type Error struct {
	Path    string // of the value, such as "ipam.ranges[0][1].subnet"; empty is the whole text
	Msg     string // the problem with it
	Details string // the expectation, in addition; may be empty
}

func (e *Error) Error() string { return e.Msg }

// Invalid is the error for a value that isn't the expected one.
func Invalid(path, expected string) *Error {
	if path == "" {
		return &Error{Msg: expected}
	}
	return &Error{Path: path, Msg: `invalid "` + path + `": ` + expected}
}

// In is the error in a larger text, which has this text at a path.
func (e *Error) In(path string) *Error {
	whole := Error{Path: strings.TrimSuffix(path+"."+e.Path, "."), Msg: e.Msg, Details: e.Details}
	switch rest, about := strings.CutPrefix(e.Msg, `invalid "`+e.Path+`": `); {
	case e.Path == "":
		return Invalid(path, e.Msg)
	case about:
		whole.Msg = Invalid(whole.Path, rest).Msg
	}
	if rest, about := strings.CutPrefix(e.Details, e.Path); about {
		whole.Details = whole.Path + rest
	}
	return &whole
}
