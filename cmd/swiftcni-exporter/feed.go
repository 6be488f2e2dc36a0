// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"errors"
	"io/fs"
	"log"
	"os"
	"sync"
	"time"

	"github.com/swiftcni/swiftcni/internal/calls"
	"github.com/swiftcni/swiftcni/internal/resident"
	"golang.org/x/sys/unix"
)

// A feed hears of the calls of whichever resident there is. One that follows another has another
// socket, or the same one, which systemd keeps. Both are followed as long as both tell.
type feed struct {
	path    string
	metrics *metrics
	each    func(*resident.Event)
	log     *log.Logger

	said string // the last trouble that was said
}

// Times of the feed.
const (
	betweenLooks = 250 * time.Millisecond // at the socket, which another resident may have replaced
	leastWait    = 50 * time.Millisecond  // after a failure, and twice as long after each more
	mostWait     = 5 * time.Second
)

// A file is a socket's.
type file struct{ dev, ino uint64 }

// followed is how a resident has been followed.
type followed struct {
	from  file
	began bool
	err   error
}

// run returns once the context has ended.
func (f *feed) run(ctx context.Context) {
	var all sync.WaitGroup
	defer all.Wait()
	ends := make(chan followed)
	following := map[file]bool{}
	wait, next := leastWait, time.Time{}
	look := time.NewTicker(betweenLooks)
	defer look.Stop()
	for {
		var again <-chan time.Time
		now := time.Now()
		at, err := socketAt(f.path)
		switch {
		case err != nil:
			f.say(err)
		case following[at]:
		case now.Before(next):
			again = time.After(next.Sub(now))
		default:
			following[at] = true
			all.Add(1)
			go func() {
				defer all.Done()
				end := f.follow(ctx, at)
				select {
				case ends <- end:
				case <-ctx.Done():
				}
			}()
		}
		select {
		case <-ctx.Done():
			return
		case end := <-ends:
			delete(following, end.from)
			f.say(end.err)
			if end.began {
				wait = leastWait
			} else {
				wait = min(2*wait, mostWait)
			}
			next = time.Now().Add(wait)
		case <-again:
		case <-look.C:
		}
	}
}

// follow hears of a resident's calls until it ends.
func (f *feed) follow(ctx context.Context, at file) followed {
	end := followed{from: at}
	version, lost := "", uint64(0)
	end.err = resident.Follow(ctx, f.path, func(v string) {
		end.began, version = true, v
		f.metrics.began(v)
	}, func(e *resident.Event) {
		f.metrics.lost.Add(float64(e.Lost - min(lost, e.Lost)))
		lost = e.Lost
		f.each(e)
	})
	if end.began {
		f.metrics.ended(version)
	}
	return end
}

// say says what keeps the exporter from a resident, once. That there is none is nothing to say.
func (f *feed) say(err error) {
	if err == nil || errors.Is(err, fs.ErrNotExist) || errors.Is(err, unix.ECONNREFUSED) || errors.Is(err, context.Canceled) {
		return
	}
	text := "the resident at " + f.path + ": " + err.Error()
	if errors.Is(err, resident.ErrSentBack) {
		text = "the resident at " + f.path + " tells nothing: this isn't its user or not its namespaces, too many listen, or it's too old"
	}
	if text != f.said {
		f.said = text
		f.log.Print(text)
	}
}

func socketAt(path string) (at file, err error) {
	var st unix.Stat_t
	if err := unix.Stat(path, &st); err != nil {
		return at, &os.PathError{Op: "stat", Path: path, Err: err}
	}
	return file{uint64(st.Dev), st.Ino}, nil // mips64 has it in 32 bits
}

// known are the names of steps.
var known = func() map[string]bool {
	names := map[string]bool{}
	for s := range calls.Step(calls.NumSteps) {
		names[s.String()] = true
	}
	return names
}()

// both calls two functions with an event.
func both(a, b func(*resident.Event)) func(*resident.Event) {
	return func(e *resident.Event) {
		a(e)
		b(e)
	}
}
