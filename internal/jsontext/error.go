// SPDX-License-Identifier: Apache-2.0

// Package jsontext reads and writes JSON without reflection, which would cost a fresh process more than all else that's
// done with a configuration or a result. What it takes and refuses, and in which words, is encoding/json's.
package jsontext

import "strings"

// An Error is a value that isn't what it should be, in a text that is JSON.
type Error struct {
	Path    string // of the value, such as "ipam.ranges[0][1].subnet"; empty is the whole text
	Msg     string // what is wrong with it
	Details string // what was expected beside that; may be empty
}

func (e *Error) Error() string { return e.Msg }

// Invalid is an error about a value that isn't what was expected.
func Invalid(path, expected string) *Error {
	if path == "" {
		return &Error{Msg: expected}
	}
	return &Error{Path: path, Msg: `invalid "` + path + `": ` + expected}
}

// In is the error as a larger text has it, in which this one stands at a path.
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
