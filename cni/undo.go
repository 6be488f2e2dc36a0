// SPDX-License-Identifier: Apache-2.0

package cni

// An undoList holds what takes back each step that was done. Nothing in it may depend on a later step.
type undoList []undoStep

type undoStep struct {
	name string
	undo func() error
}

func (u *undoList) push(name string, undo func() error) { *u = append(*u, undoStep{name, undo}) }

// pop forgets the last step: it turned out not to have been done.
func (u *undoList) pop() { *u = (*u)[:len(*u)-1] }

// run takes everything back, last step first. It goes on after a step that fails: what then remains is found
// by DEL and GC, and the error that matters is the one that led here.
func (u *undoList) run() {
	for i := len(*u) - 1; i >= 0; i-- {
		_ = (*u)[i].undo()
	}
	*u = nil
}
