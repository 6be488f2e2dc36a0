// SPDX-License-Identifier: Apache-2.0

package process

import (
	"time"

	"github.com/swiftcni/swiftcni/internal/calls"
)

// A recording takes the times of one call's steps, for `swiftctl explain --last`. It's nil unless
// somebody asked for that; then its methods do nothing, and nobody looks at a clock.
type recording struct {
	call  calls.Call
	to    calls.Writer
	step  calls.Step // that's under way
	since time.Time
}

// startRecording opens the file of the last calls: of the verbs that are kept, where it's there.
func startRecording(of calls.Call) *recording {
	if of.Verb != "ADD" && of.Verb != "DEL" {
		return nil
	}
	to, ok := calls.Open()
	if !ok {
		return nil
	}
	of.Time = time.Now()
	return &recording{to: to, since: of.Time, call: of}
}

// enter ends the step that's under way and begins one. A step that is entered again goes on.
func (r *recording) enter(s calls.Step) {
	if r == nil {
		return
	}
	now := time.Now()
	r.call.Steps[r.step] += now.Sub(r.since)
	r.step, r.since = s, now
}

// name says what is called.
func (r *recording) name(plugin, network string) {
	if r != nil {
		r.call.Plugin, r.call.Network = plugin, network
	}
}

// end writes the recording.
func (r *recording) end(code uint, message string) {
	r.enter(calls.Answer)
	r.call.Code, r.call.Message = uint32(code), message
	r.to.Put(&r.call)
}
