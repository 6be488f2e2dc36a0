// SPDX-License-Identifier: Apache-2.0

package kernels

import (
	"context"
	"errors"
	"slices"
	"strings"
	"testing"
	"time"
)

func TestConsoleCutsResultsOut(t *testing.T) {
	const text = "boot noise\r\n" +
		"\r\nM begin 0\r\none\r\nDump was interrupted and may be inconsistent.\r\ntwo\r\n\r\nM end 0 0\r\n" +
		"\r\nM begin 1\r\nleft open\r\nM end 1 3\r\n" +
		"\r\nM begin 2\r\n\r\nM end 2 0\r\n" +
		"noise between\r\n" +
		"\r\nM begin 3\r\nM end x\r\nM begin 9\r\n\r\nM end 3 127\r\nreboot\r\n"
	want := []Result{{"one\ntwo\n", 0}, {"left open", 3}, {"", 0}, {"M end x\nM begin 9\n", 127}}
	for size := 1; size < 40; size++ {
		c := newConsole("M", len(want))
		for part := range slices.Chunk([]byte(text), size) {
			if n, err := c.Write(part); n != len(part) || err != nil {
				t.Fatal(n, err)
			}
		}
		if err := c.missing(); err != nil || !slices.Equal(c.results, want) {
			t.Fatalf("in parts of %d bytes: %+v, %v", size, c.results, err)
		}
	}
}

func TestConsoleOfAGuestThatDied(t *testing.T) {
	c := newConsole("M", 2)
	if _, err := c.Write([]byte("\nM begin 0\nfine\n\nM end 0 0\n\nM begin 1\nKernel panic - not syncing\n")); err != nil {
		t.Fatal(err)
	}
	err := c.missing()
	if err == nil || !strings.Contains(err.Error(), "after 1 of 2") || !strings.Contains(err.Error(), "panic") {
		t.Errorf("error %v", err)
	}
}

// A guest that hangs ends with its context, and so do its processes: Run waits for them.
func TestHangingGuestEndsWithItsContext(t *testing.T) {
	kernel, err := UML(cache)
	if err != nil {
		t.Fatal(err)
	}
	hung := errors.New("it hangs")
	ctx, stop := context.WithCancelCause(t.Context())
	guest := Guest{Silence: silence, Commands: []string{"echo here", "sleep 1d"}, Each: func(Result) { stop(hung) }}
	results, err := kernel.Run(ctx, guest)
	if !errors.Is(err, hung) {
		t.Errorf("error %v", err)
	}
	if want := []Result{{"here\n", 0}}; !slices.Equal(results, want) {
		t.Errorf("results %+v, want %+v", results, want)
	}
}

// A guest that says nothing any more ends too, however long the caller would wait for one that goes
// on.
func TestSilentGuestEnds(t *testing.T) {
	kernel, err := UML(cache)
	if err != nil {
		t.Fatal(err)
	}
	_, err = kernel.Run(t.Context(), Guest{Silence: 10 * time.Second, Commands: []string{"echo here", "sleep 1d"}})
	if err == nil || !strings.Contains(err.Error(), "nothing for 10s") {
		t.Errorf("error %v", err)
	}
}

// One that goes on talking may take longer than any silence.
func TestTalkingGuestGoesOn(t *testing.T) {
	calls := 0
	c := newConsole("M", 1)
	c.heard = func() { calls++ }
	for _, part := range []string{"M begin 0\n", "half a", " line\n", "\nM end 0 0\n"} {
		if _, err := c.Write([]byte(part)); err != nil {
			t.Fatal(err)
		}
	}
	if calls != 4 || c.missing() != nil {
		t.Errorf("%d parts were heard of 4, %v", calls, c.missing())
	}
}
