// SPDX-License-Identifier: Apache-2.0

package main

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/swiftcni/swiftcni/internal/calls"
)

// defaultLast is how many calls are shown.
const defaultLast = 20

// record turns the recording of calls on or off.
func record(w io.Writer, onOff string) error {
	switch onOff {
	case "on":
		if err := calls.Create(); err != nil {
			return fmt.Errorf("recording: %w", err)
		}
		_, err := fmt.Fprintln(w, "ADDs and DELs are recorded from now on, until the host restarts; swiftctl explain --last shows them")
		return err
	case "off":
		if err := calls.Remove(); err != nil {
			return fmt.Errorf("recording: %w", err)
		}
		_, err := fmt.Fprintln(w, "nothing is recorded any more, and the record is removed")
		return err
	}
	return &usageError{fmt.Errorf(`--record: %q, expected "on" or "off"`, onOff)}
}

// lastCount is the number of calls that are asked for. The number may be a word of its own: "--last
// 50", as if the flag took it.
func lastCount(n int, args []string) (int, error) {
	text := strconv.Itoa(n)
	if len(args) == 1 {
		text = args[0]
	}
	if n, err := strconv.Atoi(text); err == nil && n > 0 {
		return n, nil
	}
	return 0, &usageError{fmt.Errorf("--last: %q, expected a number of calls", text)}
}

// showLast prints the last n calls.
func showLast(w io.Writer, n int, asJSON bool) error {
	list, err := calls.Load()
	if errors.Is(err, fs.ErrNotExist) {
		return errors.New("calls aren't recorded; swiftctl explain --record on records those that follow")
	}
	if errors.Is(err, calls.ErrForm) {
		return fmt.Errorf("%w; swiftctl explain --record off removes it", err)
	}
	if err != nil {
		return err
	}
	list = list[max(len(list)-n, 0):]
	if asJSON {
		return printListJSON(w, lastJSON(list))
	}
	if len(list) == 0 {
		_, err := fmt.Fprintln(w, "no ADD and no DEL since the recording began")
		return err
	}
	_, err = io.WriteString(w, lastTable(list, time.Now())+lastMedians(list))
	return err
}

// recordedCall is a call as JSON.
type recordedCall struct {
	Time         time.Time        `json:"time"`
	Verb         string           `json:"verb"`
	Plugin       string           `json:"plugin"`
	Network      string           `json:"network"`
	ContainerID  string           `json:"containerID"`
	IfName       string           `json:"ifName"`
	Code         uint32           `json:"code"` // of the error; 0 is success
	Message      string           `json:"message,omitempty"`
	TraceID      string           `json:"traceID,omitempty"`
	Microseconds int64            `json:"microseconds"`
	Steps        map[string]int64 `json:"steps"` // microseconds
}

func lastJSON(list []calls.Call) (out []recordedCall) {
	for _, c := range list {
		r := recordedCall{c.Time.UTC(), c.Verb, c.Plugin, c.Network, c.ContainerID, c.IfName, c.Code, c.Message, c.TraceID(), c.Took().Microseconds(), map[string]int64{}}
		for i, d := range c.Steps {
			if d > 0 {
				r.Steps[calls.Step(i).String()] = d.Microseconds()
			}
		}
		out = append(out, r)
	}
	return out
}

// lastTable has a line for each call, and one more for each error and for each trace.
func lastTable(list []calls.Call, now time.Time) string {
	steps := stepsOf(list)
	head := []string{"TIME", "CALL", "PLUGIN", "NETWORK", "CONTAINER", "IFNAME", "µs"}
	const left = 6 // columns of text
	for _, s := range steps {
		head = append(head, s.String())
	}
	rows := [][]string{head}
	for _, c := range list {
		row := []string{clock(c.Time, now), c.Verb, cell(c.Plugin), cell(c.Network), shortID(cell(c.ContainerID)), cell(c.IfName), micros(c.Took())}
		for _, s := range steps {
			row = append(row, micros(c.Steps[s]))
		}
		rows = append(rows, row)
	}
	lines := alignColumns(rows, left)
	var b strings.Builder
	for i, line := range lines {
		b.WriteString(line + "\n")
		if i == 0 {
			continue
		}
		c := &list[i-1]
		if c.Code != 0 {
			fmt.Fprintf(&b, "    error %d: %s\n", c.Code, printable(c.Message))
		}
		if id := c.TraceID(); id != "" {
			fmt.Fprintf(&b, "    trace %s\n", id)
		}
	}
	return b.String()
}

// stepsOf are the steps that any of the calls went through.
func stepsOf(list []calls.Call) (steps []calls.Step) {
	for s := range calls.Step(calls.NumSteps) {
		if slices.ContainsFunc(list, func(c calls.Call) bool { return c.Steps[s] > 0 }) {
			steps = append(steps, s)
		}
	}
	return steps
}

// alignColumns pads cells. The first few columns hold text, and the others hold numbers, which are
// right-aligned.
func alignColumns(rows [][]string, texts int) (lines []string) {
	widths := make([]int, len(rows[0]))
	for _, row := range rows {
		for i, c := range row {
			widths[i] = max(widths[i], utf8.RuneCountInString(c))
		}
	}
	for _, row := range rows {
		var b strings.Builder
		for i, c := range row {
			pad := strings.Repeat(" ", widths[i]-utf8.RuneCountInString(c))
			if i > 0 {
				b.WriteString("  ")
			}
			if i < texts {
				c += pad
			} else {
				c = pad + c
			}
			b.WriteString(c)
		}
		lines = append(lines, strings.TrimRight(b.String(), " "))
	}
	return lines
}

func micros(d time.Duration) string {
	if d == 0 {
		return "-"
	}
	return strconv.FormatInt(d.Microseconds(), 10)
}

// clock is a time of today, or a time with its day.
func clock(t, now time.Time) string {
	t, now = t.Local(), now.Local()
	if t.Format(time.DateOnly) == now.Format(time.DateOnly) {
		return t.Format("15:04:05.000")
	}
	return t.Format("2006-01-02 15:04:05")
}

// printable is a text that can't move the cursor.
func printable(s string) string {
	return strings.Map(func(r rune) rune {
		if !strconv.IsPrint(r) {
			return '?'
		}
		return r
	}, s)
}

// lastMedians shows where the time goes: a bar for each step of each kind of call that succeeded
// more than once.
func lastMedians(list []calls.Call) string {
	kinds := map[string][]calls.Call{}
	var names []string
	for _, c := range list {
		name := c.Verb + "s by " + cell(c.Plugin)
		if c.Code != 0 {
			continue
		}
		if kinds[name] == nil {
			names = append(names, name)
		}
		kinds[name] = append(kinds[name], c)
	}
	slices.Sort(names)
	var b strings.Builder
	for _, name := range names {
		if of := kinds[name]; len(of) > 1 {
			fmt.Fprintf(&b, "\nmedian of %d %s: %s µs\n", len(of), name, micros(median(of, (*calls.Call).Took)))
			b.WriteString(stepBars(of))
		}
	}
	return b.String()
}

// longestBar is how many characters the longest bar has.
const longestBar = 40

func stepBars(of []calls.Call) string {
	var most time.Duration
	steps := stepsOf(of)
	medians := make([]time.Duration, len(steps))
	for i, s := range steps {
		medians[i] = median(of, func(c *calls.Call) time.Duration { return c.Steps[s] })
		most = max(most, medians[i])
	}
	var rows [][]string
	for i, s := range steps {
		rows = append(rows, []string{"  " + s.String(), micros(medians[i])})
	}
	var b strings.Builder
	for i, line := range alignColumns(rows, 1) {
		b.WriteString(strings.TrimRight(line+"  "+bar(medians[i], most), " ") + "\n")
	}
	return b.String()
}

// bar has the length of a part of the most, in eighths of a character.
func bar(d, most time.Duration) string {
	if most == 0 {
		return ""
	}
	eighths := int((d*8*longestBar + most/2) / most)
	text := strings.Repeat("█", eighths/8)
	if rest := eighths % 8; rest > 0 {
		text += string([]rune("▏▎▍▌▋▊▉")[rest-1])
	}
	return text
}

func median(of []calls.Call, value func(*calls.Call) time.Duration) time.Duration {
	var list []time.Duration
	for i := range of {
		list = append(list, value(&of[i]))
	}
	slices.Sort(list)
	return list[len(list)/2]
}
