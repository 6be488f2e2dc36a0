// SPDX-License-Identifier: Apache-2.0

// Package undo takes back the steps of what failed.
package undo

// A List holds what takes back each step that was done. Nothing in it may depend on a later step.
type List []step

type step struct {
	name string
	undo func() error
}

// Push adds what takes a step back.
func (u *List) Push(name string, undo func() error) { *u = append(*u, step{name, undo}) }

// Pop forgets the last step: it turned out not to have been done.
func (u *List) Pop() { *u = (*u)[:len(*u)-1] }

// Run takes everything back, last step first. It goes on after a step that fails: what then remains is found
// by DEL and GC, and the error that matters is the one that led here.
func (u *List) Run() {
	for i := len(*u) - 1; i >= 0; i-- {
		_ = (*u)[i].undo()
	}
	*u = nil
}
