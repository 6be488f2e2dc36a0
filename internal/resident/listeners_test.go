// SPDX-License-Identifier: Apache-2.0

package resident

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"io"
	"os"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/swiftcni/swiftcni/cni"
	"github.com/swiftcni/swiftcni/internal/calls"
	"github.com/swiftcni/swiftcni/internal/handover"
	"golang.org/x/sys/unix"
)

// heard is a listener at a resident: its events, and how it ended.
type heard struct {
	events chan *Event
	done   chan error
}

// follow returns once the resident tells of its calls.
func follow(t *testing.T, ctx context.Context, path string) heard {
	t.Helper()
	h := heard{make(chan *Event, 10_000), make(chan error, 1)}
	begun := make(chan string, 1)
	go func() {
		h.done <- Follow(ctx, path, func(version string) { begun <- version }, func(e *Event) { h.events <- e })
	}()
	select {
	case version := <-begun:
		if version != cni.Version() {
			t.Errorf("version %q, want %q", version, cni.Version())
		}
	case err := <-h.done:
		t.Fatal(err)
	}
	return h
}

func (h heard) next(t *testing.T) *Event {
	t.Helper()
	select {
	case e := <-h.events:
		return e
	case <-time.After(time.Minute):
		t.Fatal("no event in a minute")
		return nil
	}
}

// call makes a call through a resident, with an environment, and returns the answer's byte.
func call(t *testing.T, path string, env ...string) byte {
	t.Helper()
	null, err := os.OpenFile(os.DevNull, os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer null.Close()
	conn := dial(t, path)
	defer conn.Close()
	fd := int(null.Fd())
	text := strings.Join(append([]string{"/opt/cni/bin/bridge"}, env...), "\x00") + "\x00"
	if _, _, err := conn.WriteMsgUnix(packet(handover.Version, 1, text), unix.UnixRights(fd, fd, fd), nil); err != nil {
		t.Fatal(err)
	}
	var b [1]byte
	if _, err := io.ReadFull(conn, b[:]); err != nil {
		t.Fatal(err)
	}
	return b[0]
}

func TestFollow(t *testing.T) {
	path, _ := serving(t)
	ctx, stop := context.WithCancel(t.Context())
	h := follow(t, ctx, path)
	other := follow(t, t.Context(), path)
	before := time.Now()
	const trace = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
	long := strings.Repeat("c", 300)
	call(t, path, "CNI_COMMAND=VERSION")
	call(t, path, "CNI_COMMAND=ADD", "TRACEPARENT="+trace)
	call(t, path, "CNI_COMMAND=DEL", "CNI_CONTAINERID="+long, "CNI_IFNAME=eth0", "TRACEPARENT=mine")
	for _, want := range []Event{
		{Plugin: "bridge", Verb: "VERSION"},
		{Plugin: "bridge", Verb: "ADD", Code: 4, TraceParent: trace},
		{Plugin: "bridge", Verb: "DEL", Code: 4, ContainerID: long[:maxName-3] + "…", IfName: "eth0"},
	} {
		e := h.next(t)
		if e.Plugin != want.Plugin || e.Verb != want.Verb || e.Code != want.Code || (e.Message == "") != (want.Code == 0) ||
			e.ContainerID != want.ContainerID || e.IfName != want.IfName || e.TraceParent != want.TraceParent || e.Lost != 0 {
			t.Errorf("%+v\nwant %+v", e, want)
		}
		if e.Start.Before(before) || e.Took <= 0 || e.Took > time.Minute || len(e.Steps) == 0 {
			t.Errorf("%+v", e)
		}
		at := time.Duration(0)
		for _, s := range e.Steps {
			if s.Start != at {
				t.Errorf("step %s begins at %v, after %v", s.Name, s.Start, at)
			}
			at += s.Took
		}
		if at != e.Took {
			t.Errorf("steps take %v, the call %v", at, e.Took)
		}
		if also := other.next(t); also.Verb != want.Verb {
			t.Errorf("another listener hears of %s, want %s", also.Verb, want.Verb)
		}
	}
	stop()
	if err := <-h.done; !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
}

// A listener that reads nothing loses events. Calls don't wait for it, and it takes no memory without end.
func TestListenerThatReadsNothing(t *testing.T) {
	const made = 2000
	path, _ := serving(t)
	h := follow(t, t.Context(), path)
	answer, to, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer answer.Close()
	conn := dial(t, path)
	fd := int(to.Fd())
	if _, _, err := conn.WriteMsgUnix(packet(handover.Version, 2, question+"\x00"+forEvents+"\x00"), unix.UnixRights(fd, fd, fd), nil); err != nil {
		t.Fatal(err)
	}
	to.Close()
	var b [1]byte
	if _, err := io.ReadFull(conn, b[:]); err != nil || b[0] != 0 {
		t.Fatal(b, err)
	}
	heap := func() uint64 {
		var m runtime.MemStats
		runtime.GC()
		runtime.ReadMemStats(&m)
		return m.HeapAlloc
	}
	before := heap()
	for range made {
		if status := call(t, path, "CNI_COMMAND=ADD", "CNI_CONTAINERID="+strings.Repeat("c", 10_000)); status != 1 {
			t.Fatal("answered", status)
		}
	}
	for range made {
		h.next(t) // another listener hears of each
	}
	if after := heap(); after > before+maxWaiting*4096 {
		t.Errorf("the heap has %d bytes, %d before", after, before)
	}
	lines, got, lost := bufio.NewScanner(answer), 0, uint64(0)
	lines.Scan() // the version
	for ; got+int(lost) < made && lines.Scan(); got++ {
		var e Event
		if err := json.Unmarshal(lines.Bytes(), &e); err != nil {
			t.Fatal(err)
		}
		lost = e.Lost
	}
	if got+int(lost) != made || lost == 0 || got < maxWaiting {
		t.Errorf("%d events and %d lost of %d: %v", got, lost, made, lines.Err())
	}
}

// At its end a resident lets listeners have the last events, and waits for none that doesn't read.
func TestListenersAtTheEnd(t *testing.T) {
	s, path, stop := started(t, Options{})
	h := follow(t, t.Context(), path)
	r, w, err := os.Pipe() // full, and nobody reads
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	defer w.Close()
	conn := dial(t, path)
	fd := int(w.Fd())
	if err := unix.SetNonblock(fd, true); err != nil {
		t.Fatal(err)
	}
	for err == nil {
		_, err = unix.Write(fd, make([]byte, 4096))
	}
	if _, _, err := conn.WriteMsgUnix(packet(handover.Version, 2, question+"\x00"+forEvents+"\x00"), unix.UnixRights(fd, fd, fd), nil); err != nil {
		t.Fatal(err)
	}
	var b [1]byte
	if _, err := io.ReadFull(conn, b[:]); err != nil || b[0] != 0 {
		t.Fatal(b, err)
	}
	for range 100 {
		call(t, path, "CNI_COMMAND=VERSION")
	}
	done := make(chan error, 1)
	go func() { done <- stop() }()
	select {
	case err := <-done:
		if err != nil {
			t.Error(err)
		}
	case <-time.After(30 * time.Second):
		t.Fatal("a listener that doesn't read keeps the resident")
	}
	if err := <-h.done; err != nil || len(h.events) != 100 {
		t.Errorf("%d of 100 events, %v", len(h.events), err)
	}
	if s.listeners.any.Load() {
		t.Error("a listener is left")
	}
}

func TestTooManyListeners(t *testing.T) {
	path, _ := serving(t)
	ctx, stop := context.WithCancel(t.Context())
	defer stop()
	var all []heard
	for range maxListeners {
		all = append(all, follow(t, ctx, path))
	}
	none := func(*Event) { t.Error("an event") }
	if err := Follow(t.Context(), path, func(string) { t.Error("it began") }, none); !errors.Is(err, ErrSentBack) {
		t.Error(err)
	}
	if status := call(t, path, "CNI_COMMAND=VERSION"); status != 0 {
		t.Error("a call beside them:", status)
	}
	stop()
	for _, h := range all {
		<-h.done
	}
	// Their places are free again once the resident has seen that they are gone.
	for deadline := time.Now().Add(time.Minute); ; time.Sleep(time.Millisecond) {
		ctx, stop := context.WithCancel(t.Context())
		err := Follow(ctx, path, func(string) { stop() }, func(*Event) {})
		stop()
		if errors.Is(err, context.Canceled) {
			return
		}
		if time.Now().After(deadline) {
			t.Fatal(err)
		}
	}
}

// A resident that knows no such question sends it back, and so is a question that nobody knows.
func TestUnknownQuestion(t *testing.T) {
	path, _ := serving(t)
	for _, words := range [][]string{{question, "secrets"}, {question, forEvents, "twice"}, {question, ""}} {
		if q, err := put(t.Context(), path, words...); !errors.Is(err, ErrSentBack) {
			q.close()
			t.Errorf("%q: %v", words, err)
		}
	}
}

// An event keeps nothing of a call's alive, and its texts are bounded.
func TestEventIsBounded(t *testing.T) {
	long := strings.Repeat("ö", 1<<16)
	c := calls.Told{Call: calls.Call{Plugin: long, Verb: long, Network: long, ContainerID: long, IfName: long, Message: long},
		Spans: make([]calls.Span, calls.MaxSpans)}
	text, err := json.Marshal(event(&c))
	if err != nil || len(text) > 8192 || len(text) < 2000 {
		t.Errorf("%d bytes, %v", len(text), err)
	}
}
