// SPDX-License-Identifier: Apache-2.0

package resident

import (
	"strings"
	"time"

	"github.com/swiftcni/swiftcni/internal/calls"
)

// An Event is a call that a resident has made, as JSON in one line. Texts that are too long are cut,
// and end in "…". An event without a verb is of other work than a call.
type Event struct {
	Plugin      string `json:"plugin"`
	Verb        string `json:"verb"`
	Network     string `json:"network,omitempty"`
	ContainerID string `json:"containerID,omitempty"`
	IfName      string `json:"ifName,omitempty"`
	Code        uint32 `json:"code,omitempty"` // of the error; 0 is success
	Message     string `json:"message,omitempty"`
	TraceParent string `json:"traceParent,omitempty"` // see calls.TraceParent

	Start time.Time     `json:"start"`
	Took  time.Duration `json:"took"` // in nanoseconds
	Steps []Step        `json:"steps,omitempty"`

	Reclaimed int    `json:"reclaimed,omitempty"` // attachments that were provably dead, and whose leases it has ended
	Lost      uint64 `json:"lost,omitempty"`      // events that this listener hasn't got, since it began to listen
}

// A Step is a part of a call, in the order of time.
type Step struct {
	Name  string        `json:"name"` // as calls.Step has it
	Start time.Duration `json:"start"`
	Took  time.Duration `json:"took"`
}

// Bounds of texts, in bytes.
const (
	maxName    = 256
	maxMessage = 1024
)

// event is what listeners are told of a call. It holds on to nothing of the call's.
func event(c *calls.Told) *Event {
	e := &Event{
		Plugin: cut(c.Plugin, maxName), Verb: cut(c.Verb, maxName), Network: cut(c.Network, maxName),
		ContainerID: cut(c.ContainerID, maxName), IfName: cut(c.IfName, maxName), Code: c.Code, Message: cut(c.Message, maxMessage),
		TraceParent: strings.Clone(c.TraceParent), Start: c.Time, Took: c.Took(), Steps: make([]Step, 0, len(c.Spans)), Reclaimed: c.Reclaimed,
	}
	for _, s := range c.Spans {
		e.Steps = append(e.Steps, Step{s.Step.String(), s.Start, s.Took})
	}
	return e
}

// cut returns a copy of the beginning of a text.
func cut(s string, most int) string {
	if len(s) <= most {
		return strings.Clone(s)
	}
	const more = "…"
	return strings.ToValidUTF8(s[:most-len(more)], "") + more
}
