// SPDX-License-Identifier: Apache-2.0

package cni

import (
	"time"

	"github.com/swiftcni/swiftcni/internal/calls"
)

// A recording takes the times of one call's steps, for `swiftctl explain --last`. It's nil unless somebody asked for that;
// then its methods do nothing, and nobody looks at a clock.
type recording struct {
	call  calls.Call
	to    calls.Writer
	step  calls.Step // that's under way
	since time.Time
}

// startRecording opens the file of the last calls: of the verbs that are kept, where it's there.
func startRecording(name string, getenv func(string) string) *recording {
	verb := getenv("CNI_COMMAND")
	if verb != "ADD" && verb != "DEL" {
		return nil
	}
	to, ok := calls.Open()
	if !ok {
		return nil
	}
	now := time.Now()
	return &recording{to: to, since: now, call: calls.Call{Time: now, Verb: verb, Plugin: name,
		ContainerID: getenv("CNI_CONTAINERID"), IfName: getenv("CNI_IFNAME")}}
}

// Record runs what attaches or detaches (verb is "ADD" or "DEL") and, if somebody asked by `swiftctl explain --record on`, keeps
// what it did and how long each step took, as plugins do. [Main] needs none of this. fn is given the attachment to use.
func Record(verb string, n *Network, a Attachment, fn func(Attachment) error) error {
	r := startRecording(n.plugin, func(name string) string {
		return map[string]string{"CNI_COMMAND": verb, "CNI_CONTAINERID": a.ContainerID, "CNI_IFNAME": a.IfName}[name]
	})
	if r == nil {
		return fn(a)
	}
	defer r.to.Close()
	r.name(n.plugin, n.name)
	a.steps = r
	err := fn(a)
	var e *Error
	if err != nil {
		e = asError(err)
	}
	r.end(e)
	return err
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

// name says what is called. Who is called by a name that isn't a plugin's is the configuration's.
func (r *recording) name(plugin, network string) {
	if r != nil {
		r.call.Plugin, r.call.Network = plugin, network
	}
}

// end writes the recording, once the answer is given. e may be nil.
func (r *recording) end(e *Error) {
	if r == nil {
		return
	}
	r.enter(calls.Answer)
	if e != nil {
		r.call.Code, r.call.Message = uint32(e.Code), e.Error()
	}
	r.to.Put(&r.call)
}
