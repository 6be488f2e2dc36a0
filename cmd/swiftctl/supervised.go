// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"sync"
	"time"

	"github.com/coreos/go-systemd/v22/activation"
	"github.com/coreos/go-systemd/v22/daemon"
	"github.com/swiftcni/swiftcni/internal/resident"
	"golang.org/x/sys/unix"
)

// listen returns the socket that systemd has made for this process, else one at the path. where is
// the path at which its callers find it.
func listen(path string) (l *resident.Listener, where string, err error) {
	files := activation.Files(true)
	switch len(files) {
	case 0:
		l, err = resident.Listen(path)
		return l, path, err
	case 1:
		defer files[0].Close()
		l, err = resident.Inherit(files[0])
		if err != nil {
			return nil, "", err
		}
		return l, l.Addr().String(), nil
	}
	for _, f := range files {
		f.Close()
	}
	return nil, "", fmt.Errorf("systemd passes %d sockets, want 1", len(files))
}

// supervised tells systemd, if it has started this process, that calls are answered at a path, that
// they still are, and once the context has ended that no more will be. Whoever else starts it again may have it abort
// where no answer has come for some time. It returns at once; the function that it returns ends it.
func supervised(ctx context.Context, path string, limit time.Duration, say func(text string)) (end func(), err error) {
	interval, err := daemon.SdWatchdogEnabled(true)
	if err != nil {
		return nil, fmt.Errorf("systemd's watchdog: %w", err)
	}
	tell := func(state string) {
		if _, err := daemon.SdNotify(false, state); err != nil {
			say("tell systemd " + state + ": " + err.Error())
		}
	}
	tell(daemon.SdNotifyReady)
	stopping := sync.OnceFunc(func() { tell(daemon.SdNotifyStopping) })
	stop := context.AfterFunc(ctx, stopping)
	over, done := context.WithCancel(context.Background())
	silent := func(err error) { say("no answer to a call of its own: " + err.Error()) }
	if interval > 0 {
		// It goes on while the last calls end, which takes as long as they take.
		go watched(over, interval/questions, path, func() { tell(daemon.SdNotifyWatchdog) }, silent)
	}
	if limit > 0 {
		answered, missed := starving(func() { _ = unix.Kill(os.Getpid(), unix.SIGABRT) }) // Go prints where each goroutine is
		go watched(ctx, limit/questions, path, answered, func(err error) { silent(err); missed() })
	}
	return func() {
		stop()
		stopping() // or waits until it has been told
		done()
	}, nil
}

// questions are how often a resident is asked in the time after which it aborts, or systemd ends it.
const questions = 4

// starving aborts once no answer has come for questions and one more, which take all of the time. A
// single error may be that of a moment: another resident takes the socket over, or its queue is full.
func starving(abort func()) (answered, missed func()) {
	n := 0
	return func() { n = 0 }, func() {
		if n++; n > questions {
			abort()
		}
	}
}

// watched asks the socket again and again, as its callers do, and tells whether an answer came. To be
// sent back is one, also from a resident that has too many calls: what it finds is that nobody
// takes calls, not that they don't end.
func watched(ctx context.Context, every time.Duration, path string, answered func(), silent func(error)) {
	t := time.NewTicker(every)
	defer t.Stop()
	for {
		asked, cancel := context.WithTimeout(ctx, every)
		_, err := resident.Ask(asked, path)
		cancel()
		switch {
		case ctx.Err() != nil:
			return
		case err == nil, errors.Is(err, resident.ErrSentBack):
			answered()
		default:
			silent(err)
		}
		select {
		case <-ctx.Done():
			return
		case <-t.C:
		}
	}
}
