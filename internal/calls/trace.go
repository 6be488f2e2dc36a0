// SPDX-License-Identifier: Apache-2.0

package calls

import "time"

// TraceParent returns the value of TRACEPARENT if it's one of W3C's Trace Context, else "". A
// runtime names by it the trace and the span that its call belongs to:
//
//	00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01
//
// The parts are the version, the trace's ID, the span's ID, and flags. Of a later version the parts
// that are known are returned, as version 00.
func TraceParent(value string) string {
	const whole = len("00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01")
	if len(value) < whole || len(value) > whole && (value[:2] == "00" || value[whole] != '-') {
		return ""
	}
	known := value[:whole]
	at := 0
	for i, size := range [...]int{2, 32, 16, 2} {
		part := known[at : at+size]
		zero := true
		for _, c := range []byte(part) {
			if (c < '0' || c > '9') && (c < 'a' || c > 'f') {
				return ""
			}
			zero = zero && c == '0'
		}
		if zero && size > 2 || i == 0 && part == "ff" {
			return ""
		}
		if at += size; at < whole {
			if known[at] != '-' {
				return ""
			}
			at++
		}
	}
	if known[:2] != "00" {
		return "00" + known[2:]
	}
	return known
}

// TraceID returns the ID of a call's trace, or "".
func (c *Call) TraceID() string {
	if c.TraceParent == "" {
		return ""
	}
	return c.TraceParent[3:35]
}

// A Span is a time that a call spent in a step. A step that's entered again has another span.
type Span struct {
	Step        Step
	Start, Took time.Duration // since the call's begin, and since then
}

// MaxSpans bounds the spans of a call. The last one goes on for the rest of it.
const MaxSpans = 64

// A Told is a call for somebody who hears of it at once.
type Told struct {
	Call
	Spans     []Span
	Reclaimed int // attachments that were provably dead, and whose leases the call has ended
}
