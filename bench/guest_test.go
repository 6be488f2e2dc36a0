// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bytes"
	"io"
	"maps"
	"slices"
	"strings"
	"testing"
)

// A kernel may lack a kind of link. Who needs it is left out, with the kernel's words.
func TestContestantsThatTheKernelLacks(t *testing.T) {
	var progress bytes.Buffer
	p := plan{Experiment: "kinds", Contestants: []Contestant{
		{Name: "unknown", SetUp: "ip link add card0 type veth", Needs: "ip link add probe link card0 type unknown"},
		{Name: "known", SetUp: "ip link add card0 type veth", Needs: "ip link add probe link card0 type macvlan"}}}
	found, err := p.start(&progress)
	if err != nil {
		t.Fatalf("%v\n%s", err, progress.String())
	}
	if names := slices.Collect(maps.Keys(found.Lacking)); !slices.Equal(names, []string{"unknown"}) || !strings.Contains(found.Lacking["unknown"], "Unknown device type") {
		t.Errorf("left out: %q", found.Lacking)
	}
	if !strings.Contains(progress.String(), "of 1 contestants") {
		t.Errorf("progress:\n%s", progress.String())
	}
	r := Report{results: results{Lacking: map[string]string{"dummy-swiftcni": "no such kind"}}}
	if text := r.showKinds().text; !strings.Contains(text, "can't make dummy (no such kind).") {
		t.Errorf("the report says: %s", text)
	}
}

// TestGuest measures on a kernel that knows all kinds.
func TestGuest(t *testing.T) {
	names := []string{"dummy-reference", "dummy-swiftcni"}
	r, page := runReport(t, "kinds", "-guest", "bookworm", "-n", "1", "-warmup", "1", "-traced", "1", "-only", strings.Join(names, ","))
	if !strings.HasPrefix(r.Guest, "6.1.") || !strings.Contains(page, r.Guest+", emulated by qemu (a nanosecond an instruction) on "+r.Kernel) {
		t.Errorf("the guest's kernel is %q; page:\n%s", r.Guest, page)
	}
	if r.Lacking != nil {
		t.Errorf("lacking: %q", r.Lacking)
	}
	for _, name := range names {
		for _, verb := range []string{verbAdd, verbDel} {
			if n := len(r.times(Key{Experiment: "kinds", Contestant: name, Verb: verb})); n != 1 {
				t.Errorf("%s: %d samples of %s", name, n, verb)
			}
		}
	}
	// The reference executes static.
	theirs, ours := r.Counts[names[0]][verbAdd], r.Counts[names[1]][verbAdd]
	if theirs.Execs != 1 || ours.Execs != 0 || ours.Own == 0 || ours.Own >= theirs.Own {
		t.Errorf("ADD of the reference: %+v, of swiftcni: %+v", theirs, ours)
	}
}

func TestGuestRunsOnlyKinds(t *testing.T) {
	if _, err := parseFlags([]string{"attach", "-guest", "trixie"}, io.Discard); err == nil {
		t.Error("attach in a guest is no error")
	}
}
