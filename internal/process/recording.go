// SPDX-License-Identifier: Apache-2.0

package process

import (
	"time"

	"github.com/swiftcni/swiftcni/internal/calls"
)

// A recording takes the times of one call's steps, for `swiftctl explain --last` and for those who
// hear of a resident's calls. It's nil unless somebody wants them. Its methods then do nothing, and
// don't look at the clock.
type recording struct {
	of    calls.Told
	to    calls.Writer
	filed bool              // there's a file, which to is
	tell  func(*calls.Told) // nil: nobody hears of the call
	step  calls.Step        // the current one
	since time.Time
}

// startRecording begins the recording of a call. The file of the last calls is opened, if it exists
// and if the verb is one that it records. tell may be nil.
func startRecording(of calls.Call, tell func(*calls.Told)) *recording {
	r := recording{tell: tell}
	if of.Verb == "ADD" || of.Verb == "DEL" {
		r.to, r.filed = calls.Open()
	}
	if !r.filed && tell == nil {
		return nil
	}
	of.Time, of.TraceParent = time.Now(), calls.TraceParent(of.TraceParent)
	r.of.Call, r.since = of, of.Time
	return &r
}

// enter ends the current step and begins another. A step that is entered again goes on.
func (r *recording) enter(s calls.Step) {
	if r == nil || r.step == s {
		return
	}
	r.leave()
	r.step = s
}

// leave ends a part of the current step.
func (r *recording) leave() {
	now := time.Now()
	took := now.Sub(r.since)
	r.of.Steps[r.step] += took
	r.span(took)
	r.since = now
}

// span notes a time spent in the current step.
func (r *recording) span(took time.Duration) {
	if r.tell == nil {
		return
	}
	if n := len(r.of.Spans); n == calls.MaxSpans {
		r.of.Spans[n-1].Took += took
		return
	}
	r.of.Spans = append(r.of.Spans, calls.Span{Step: r.step, Start: r.since.Sub(r.of.Time), Took: took})
}

// name sets the plugin and the network of the call.
func (r *recording) name(plugin, network string) {
	if r != nil {
		r.of.Plugin, r.of.Network = plugin, network
	}
}

// end writes the recording, and tells it.
func (r *recording) end(code uint, message string) {
	r.leave()
	r.of.Code, r.of.Message = uint32(code), message
	if r.filed {
		r.to.Put(&r.of.Call)
	}
	if r.tell != nil {
		r.tell(&r.of)
	}
}

// close closes the file.
func (r *recording) close() {
	if r.filed {
		r.to.Close()
	}
}
