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
// where no answer comes within a time. It returns at once; the function that it returns ends it.
func supervised(ctx context.Context, path string, patience time.Duration, say func(text string)) (end func(), err error) {
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
		go watched(over, interval/2, path, func() { tell(daemon.SdNotifyWatchdog) }, silent)
	}
	if patience > 0 {
		// Calls that don't end hold up every other way to end. The stacks that Go prints tell where.
		go watched(ctx, patience, path, func() {}, func(err error) { silent(err); _ = unix.Kill(os.Getpid(), unix.SIGABRT) })
	}
	return func() {
		stop()
		stopping() // or waits until it has been told
		done()
	}, nil
}

// watched asks the socket again and again, as its callers do, and tells whether an answer came.
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
