// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/coreos/go-systemd/v22/activation"
	"github.com/coreos/go-systemd/v22/daemon"
	"github.com/swiftcni/swiftcni/internal/resident"
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
// they still are, and once the context has ended that no more will be. It returns at once; the
// function that it returns ends it.
func supervised(ctx context.Context, path string, say func(text string)) (end func(), err error) {
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
	if interval > 0 {
		go watched(over, interval/2, path, tell, say)
	}
	return func() {
		stop()
		stopping() // or waits until it has been told
		done()
	}, nil
}

// watched feeds systemd's watchdog as long as the socket's callers are answered. It goes on while
// the last calls end, which takes as long as they take.
func watched(ctx context.Context, every time.Duration, path string, tell, say func(text string)) {
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
			tell(daemon.SdNotifyWatchdog)
		default:
			say("no answer to a call of its own: " + err.Error())
		}
		select {
		case <-ctx.Done():
			return
		case <-t.C:
		}
	}
}
