// SPDX-License-Identifier: Apache-2.0

// Package calls keeps a record of the last ADDs and DELs of this host, with the time of each step,
// for people to look at.
//
// A [Call] is one ADD or DEL. The file [Path] holds up to [Slots] of them, each in a slot of its
// own of 512 bytes. The file is made only for somebody who wants to look. Without it, a plugin pays
// one system call that fails. With it, a plugin pays two: [Open], and one write of one slot in
// [Writer.Put]. It neither locks nor reads.
//
// So it can't know which slot is the oldest. Its time chooses a slot, as if at random. "The last"
// is therefore an approximation. Of the last n calls about n*n/2/Slots are missing, overwritten by
// later ones: one of the last 20 in one case of forty, and of the last 120 about one. Calls as old
// as several times Slots may still be there, each with its time.
package calls

import (
	"encoding/binary"
	"strings"
	"time"
)

// The file is in a directory of root's, which goes with the boot. The number in its name is that of
// the slots' form.
const (
	Dir  = "/run/swiftcni"
	Path = Dir + "/calls.2"
)

// Slots is how many calls the file holds, at most 4 MiB with its head.
const Slots = 8191

// A Step is a part of a call. Steps are in the order in which most calls go through them.
type Step uint8

// The steps of a call.
const (
	Parse     Step = iota // environment and configuration
	Namespace             // the container's network namespace, and the host's identity
	// Lease reserves or releases addresses, also by executed IPAM plugins.
	Lease
	Links     // the host's side
	Rules     // the ruleset's elements
	Container // the container's side, and waiting for its link
	Plugin    // the work of a chained plugin, by itself or in a chain
	Undo      // the undo of a failed ADD
	Answer    // the printing of the answer
	NumSteps  = iota
)

// String returns the step's name, one word.
func (s Step) String() string {
	return [...]string{"parse", "namespace", "lease", "links", "rules", "container", "plugin", "undo", "answer"}[s]
}

// A Call is one ADD or DEL. Texts that are too long for a slot are cut, and end in "…".
type Call struct {
	Time        time.Time // when it began
	Verb        string    // "ADD" or "DEL"
	Plugin      string    // "bridge"
	Network     string
	ContainerID string
	IfName      string
	Code        uint32 // of the error; 0 is success
	Message     string // of the error
	TraceParent string // the runtime's, as W3C's Trace Context has it, or ""; see [TraceParent]
	Steps       [NumSteps]time.Duration
}

// Took is the sum of the steps. It leaves out the start and the end of the process.
func (c *Call) Took() (sum time.Duration) {
	for _, d := range c.Steps {
		sum += d
	}
	return sum
}

// A slot's form. Numbers are little-endian, texts end with their field or a zero byte, and steps
// are microseconds.
const (
	slotSize = 512
	magic    = "swc\x02"

	verbAt      = 4
	timeAt      = 8 // nanoseconds since 1970
	codeAt      = 16
	stepsAt     = 20 // room for 11
	pluginAt    = 64
	ifNameAt    = 80
	containerAt = 96
	networkAt   = 176
	messageAt   = 240
	traceAt     = 448 // 55 characters
	sumAt       = 504
)

// verbs are the meanings of the byte at verbAt.
var verbs = [...]string{1: "ADD", 2: "DEL"}

type slot [slotSize]byte

func (s *slot) encode(c *Call) {
	copy(s[:], magic)
	for i, verb := range verbs {
		if verb == c.Verb {
			s[verbAt] = byte(i)
		}
	}
	binary.LittleEndian.PutUint64(s[timeAt:], uint64(c.Time.UnixNano()))
	binary.LittleEndian.PutUint32(s[codeAt:], c.Code)
	for i, d := range c.Steps {
		binary.LittleEndian.PutUint32(s[stepsAt+4*i:], uint32(d.Microseconds()))
	}
	put(s[pluginAt:ifNameAt], c.Plugin)
	put(s[ifNameAt:containerAt], c.IfName)
	put(s[containerAt:networkAt], c.ContainerID)
	put(s[networkAt:messageAt], c.Network)
	put(s[messageAt:traceAt], c.Message)
	put(s[traceAt:sumAt], TraceParent(c.TraceParent))
	binary.LittleEndian.PutUint64(s[sumAt:], s.sum())
}

// decode reports whether the slot holds a whole call.
func (s *slot) decode(c *Call) bool {
	v := int(s[verbAt])
	if string(s[:verbAt]) != magic || binary.LittleEndian.Uint64(s[sumAt:]) != s.sum() || v == 0 || v >= len(verbs) {
		return false
	}
	c.Verb = verbs[v]
	c.Time = time.Unix(0, int64(binary.LittleEndian.Uint64(s[timeAt:])))
	c.Code = binary.LittleEndian.Uint32(s[codeAt:])
	for i := range c.Steps {
		c.Steps[i] = time.Duration(binary.LittleEndian.Uint32(s[stepsAt+4*i:])) * time.Microsecond
	}
	c.Plugin, c.IfName = text(s[pluginAt:ifNameAt]), text(s[ifNameAt:containerAt])
	c.ContainerID, c.Network = text(s[containerAt:networkAt]), text(s[networkAt:messageAt])
	c.Message, c.TraceParent = text(s[messageAt:traceAt]), TraceParent(text(s[traceAt:sumAt]))
	return true
}

// sum recognizes a slot that was read while it was written, or that another program wrote. It's
// FNV-1a of the bytes before it.
func (s *slot) sum() uint64 {
	sum := uint64(14695981039346656037)
	for _, b := range s[:sumAt] {
		sum = (sum ^ uint64(b)) * 1099511628211
	}
	return sum
}

const cut = "…"

func put(field []byte, text string) {
	if n := copy(field, text); n < len(text) {
		copy(field[n-len(cut):], cut)
	}
}

func text(field []byte) string {
	s, _, _ := strings.Cut(string(field), "\x00")
	return strings.ToValidUTF8(s, "")
}

// place is the offset of the slot that a call's time chooses, behind the head. Neighbouring times
// are far apart.
func place(t time.Time) int64 {
	mixed := uint64(t.UnixNano()) * 0x9e3779b97f4a7c15 // 2^64 divided by the golden ratio
	return (1 + int64(mixed>>32)%Slots) * slotSize
}
