// SPDX-License-Identifier: Apache-2.0

// Package undo takes back the steps of a failed change.
package undo

// A List holds the undo of each step that was done. No undo may depend on a later step.
type List []step

type step struct {
	name string
	undo func() error
}

// Push adds the undo of a step.
func (u *List) Push(name string, undo func() error) { *u = append(*u, step{name, undo}) }

// Pop removes the last step, if it turned out not to have been done.
func (u *List) Pop() { *u = (*u)[:len(*u)-1] }

// Run takes everything back, last step first. It goes on after a step that fails. DEL and GC find
// the rest, and the error that matters is the one that led here.
func (u *List) Run() {
	for i := len(*u) - 1; i >= 0; i-- {
		_ = (*u)[i].undo()
	}
	*u = nil
}
