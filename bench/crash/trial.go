// SPDX-License-Identifier: Apache-2.0

package main

import (
	"errors"
	"fmt"
	"maps"
	"net/netip"
	"slices"
	"strings"
	"syscall"
)

// The modes of trial.
const (
	modeRecord = "record" // nothing happens; the calls of the run are recorded
	modeKill   = "kill"
	modeFail   = "fail"
	modePower  = "power"
	modeLimits = "limits"
	modeCaller = "caller" // the resident's caller is killed
)

// Trial is one disturbance of one verb.
type Trial struct {
	ID     int
	Plugin string
	Mode   string
	Verb   string
	// Cold hosts have never had an attachment. On others one is alive while the trial happens.
	Cold bool
	// Gone ends the container's namespace before the clean-up.
	Gone bool `json:",omitempty"`
	// Member is the place of the disturbed plugin in its list.
	Member int `json:",omitempty"`
	// Caller says that the system call is the caller's own, rather than the resident's.
	Caller bool `json:",omitempty"`
	// At is the system call at which it happens.
	At    Call
	Errno syscall.Errno `json:",omitempty"`
	// Event is the event in the modes power and limits, and Limit is its amount.
	Event string `json:",omitempty"`
	Limit int    `json:",omitempty"`
}

func (t Trial) String() string {
	words := []string{t.Plugin, t.Mode, t.Verb, "warm"}
	if t.Cold {
		words[3] = "cold"
	}
	if t.Member != 0 {
		words = append(words, fmt.Sprintf("[%d]", t.Member))
	}
	if t.Caller {
		words = append(words, "caller's")
	}
	if t.Gone {
		words = append(words, "gone")
	}
	if t.Event != "" {
		words = append(words, t.Event)
	}
	if t.Limit != 0 {
		words = append(words, fmt.Sprint(t.Limit))
	}
	if t.At.Name != "" {
		words = append(words, t.At.String())
	}
	if t.Errno != 0 {
		words = append(words, errnoName(t.Errno))
	}
	return strings.Join(words, " ")
}

// Outcome is the outcome of a trial.
type Outcome struct {
	Trial   Trial
	Reached bool     // the call was made
	Leaks   []string `json:",omitempty"` // everything that was left
	Wrong   []string `json:",omitempty"` // everything that didn't hold
	Twice   []string `json:",omitempty"` // addresses that two containers had
	Crashed bool     `json:",omitempty"` // the runtime gave up
	// Refused is the error of an undisturbed verb that isn't implemented.
	Refused string   `json:",omitempty"`
	Calls   []Call   `json:",omitempty"`
	Log     []string `json:",omitempty"`
	Micros  int64
}

func (o *Outcome) clean() bool { return len(o.Leaks)+len(o.Wrong)+len(o.Twice) == 0 }

// trying is a trial in progress.
type trying struct {
	*Outcome
	plugin *Plugin
	host   *host
	known  *known
	live   map[string][]netip.Addr
	result map[string]string // ADD's answers
	// refused are ADDs for which there was no address. A runtime calls DEL for them all the same.
	refused []string
	hurt    bool         // the event took something from undisturbed attachments
	begins  func() error // runs before the disturbed member of the trial's verb begins; may be nil
	lost    bool         // the victim's link, that the host lends, is gone
	deaf    bool         // nobody reads what that member answers

	servants []int     // programs that stay beside the resident: process IDs
	resident *residing // makes the calls; may be nil
}

func (t *trying) wrong(format string, args ...any) {
	t.Wrong = append(t.Wrong, fmt.Sprintf(format, args...))
}

func (t *trying) note(verb, id string, a answer) {
	t.Log = append(t.Log, fmt.Sprintf("%s %s: %v", verb, id, a))
}

// verb runs a verb undisturbed.
func (t *trying) verb(verb, id string) (answer, error) {
	a, err := t.list(t.call(verb, id), nil)
	t.note(verb, id, a)
	return a, err
}

func (t *trying) call(verb, id string) call {
	c := call{verb: verb, id: id, netns: containerPath(id)}
	switch verb {
	case "CHECK", "DEL":
		c.prev = t.result[id]
	case "GC":
		c.id, c.netns = "", ""
		c.valid = []string{}
		for _, id := range slices.Sorted(maps.Keys(t.live)) {
			if id != victim {
				c.valid = append(c.valid, id)
			}
		}
	}
	return c
}

// maxFill is how many containers fill a range. A larger range isn't filled.
const maxFill = 6

// The containers of a trial: one that lives through it on a warm host, one that is attached
// afterwards, and between them the victim. Others, f0, f1, …, fill the rest of the range.
const (
	bystander = "c0"
	victim    = "c1"
	successor = "c2"
)

// attach attaches a container undisturbed. It must succeed and give an address that no other
// container has.
func (t *trying) attach(id string) error {
	if _, err := t.host.add(id); err != nil {
		return err
	}
	a, err := t.verb("ADD", id)
	if err != nil {
		return err
	}
	t.attached(id, a)
	return nil
}

func (t *trying) attached(id string, a answer) {
	if !a.ok() {
		t.wrong("ADD %s: %v", id, a)
		return
	}
	addrs := a.addresses()
	for other, has := range t.live {
		for _, x := range addrs {
			if slices.Contains(has, x) {
				t.Twice = append(t.Twice, fmt.Sprintf("%s has the address %v of %s", id, x, other))
			}
		}
	}
	t.live[id], t.result[id] = addrs, a.stdout
}

// detach must succeed, whatever the trial has left.
func (t *trying) detach(id string) error {
	a, err := t.verb("DEL", id)
	if err != nil {
		return err
	}
	if !a.ok() {
		t.wrong("DEL %s: %v", id, a)
	}
	delete(t.live, id)
	return nil
}

// fill attaches containers until none gets an address any more. Every address that isn't in use
// must be free.
func (t *trying) fill() (n int, err error) {
	for n = range maxFill {
		id := fmt.Sprintf("f%d", n)
		if _, err := t.host.add(id); err != nil {
			return n, err
		}
		a, err := t.verb("ADD", id)
		if err != nil {
			return n, err
		}
		if !a.ok() {
			if err := a.refusal(); err != nil {
				t.wrong("ADD %s in a full range: %v", id, err)
			}
			t.refused = append(t.refused, id)
			return n, nil
		}
		t.attached(id, a)
	}
	return maxFill, nil
}

// intact checks that an undisturbed attachment is whole.
func (t *trying) intact(id string) error {
	if t.live[id] == nil {
		return nil
	}
	a, err := t.verb("CHECK", id)
	if err == nil && !a.ok() {
		t.wrong("CHECK %s: %v", id, a)
	}
	return err
}

// begin prepares the host for the verb.
func (t *trying) begin() error {
	if !t.Trial.Cold {
		if err := t.attach(bystander); err != nil {
			return err
		}
	}
	if t.Trial.Verb == "ADD" {
		_, err := t.host.add(victim)
		return err
	}
	return t.attach(victim)
}

// disturbed runs the verb of the trial under a tracer.
func (t *trying) disturbed(tr *tracer) (answer, error) {
	if t.resident != nil {
		t.pause() // so that nothing of the calls before is counted
	}
	a, err := t.list(t.call(t.Trial.Verb, victim), tr)
	t.note(t.Trial.Verb, victim+" (disturbed)", a)
	if a.late != nil {
		t.wrong("%s: %v", t.Trial.Verb, a)
	}
	if err == nil {
		err = t.survey(a, tr)
	}
	return a, err
}

// here makes a verdict at the trial's call, once.
func (t *trying) here(v verdict) func(Call) verdict {
	return func(c Call) verdict {
		if t.Reached || c != t.Trial.At {
			return verdict{}
		}
		t.Reached = true
		return v
	}
}

// end detaches everything. Then only the shared things may be left.
func (t *trying) end() error {
	if t.Trial.Gone {
		if err := errors.Join(t.host.vanish(victim), t.host.ended(victim)); err != nil {
			return err
		}
	}
	for range 1 + min(len(t.plugin.Followers), 1) { // a list's DEL may come again
		if err := t.detach(victim); err != nil {
			return err
		}
	}
	return t.detachOthers()
}

func (t *trying) detachOthers() error {
	others := slices.Sorted(maps.Keys(t.live))
	for _, id := range others {
		if t.hurt && id == bystander {
			continue
		}
		if err := t.intact(id); err != nil {
			return err
		}
	}
	for _, id := range append(others, t.refused...) {
		if err := t.detach(id); err != nil {
			return err
		}
	}
	return t.nothingLeft()
}

// nothingLeft notes everything beyond the shared things, once the work has ended that may take a
// little longer than its verb.
func (t *trying) nothingLeft() error {
	t.settle()
	now, err := t.host.take()
	if err != nil {
		return err
	}
	t.Leaks = append(t.Leaks, t.returned(now, now.beyond(t.known.shared))...)
	return nil
}
