// SPDX-License-Identifier: Apache-2.0

package ipam

import (
	"context"
	"errors"
	"testing"
	"time"
)

// A wait for the lock ends with its context, and leaves the lock to whoever comes later.
func TestOpenEndsWithItsContext(t *testing.T) {
	dir := t.TempDir()
	holder, err := Open(t.Context(), dir, "net")
	if err != nil {
		t.Fatal(err)
	}
	defer holder.Close()
	for name, open := range map[string]func(context.Context, string, string) (*Store, error){
		"Open": Open, "OpenExisting": OpenExisting, "OpenReadOnly": OpenReadOnly,
	} {
		ctx, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond)
		if s, err := open(ctx, dir, "net"); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("%s: %v, %v", name, s, err)
		}
		if s, err := open(ctx, dir, "net"); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("%s with a context that has ended: %v, %v", name, s, err)
		}
		cancel()
	}
	next := make(chan error)
	go func() {
		s, err := Open(t.Context(), dir, "net") // behind the three that gave up
		if err == nil {
			err = s.Close()
		}
		next <- err
	}()
	if err := holder.Close(); err != nil {
		t.Fatal(err)
	}
	if err := <-next; err != nil {
		t.Error(err)
	}
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	for name, ctx := range map[string]context.Context{"without an end": context.Background(), "ended": ended} {
		s, err := Open(ctx, dir, "free") // where nobody waits: those who gave up still take the other one for a moment
		if err != nil {
			t.Fatalf("a free lock, context %s: %v", name, err)
		}
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	}
}
