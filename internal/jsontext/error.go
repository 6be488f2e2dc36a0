// SPDX-License-Identifier: Apache-2.0

// Package jsontext reads and writes JSON without reflection, which would cost a fresh process more than all else that's
// done with a configuration or a result. What it takes and refuses, and in which words, is encoding/json's.
package jsontext

// An Error is a value that isn't what it should be, in a text that is JSON.
type Error struct {
	Path    string // of the value, such as "ipam.ranges[0][1].subnet"; empty is the whole text
	Msg     string // what is wrong with it
	Details string // what was expected beside that; may be empty
}

func (e *Error) Error() string { return e.Msg }
