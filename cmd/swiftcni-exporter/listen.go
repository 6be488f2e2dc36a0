// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"errors"
	"io/fs"
	"net"
	"net/http"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/prometheus/client_golang/prometheus/promhttp"
	"golang.org/x/net/netutil"
)

// maxConns bounds the connections. Everybody on the host can connect to a port.
const maxConns = 64

// listen listens at an address of this host's own. A Unix socket is for this process's user alone, and
// takes the place of one that is there.
func listen(address string) (net.Listener, error) {
	path, isPath := strings.CutPrefix(address, "unix:")
	if !isPath {
		at, err := netip.ParseAddrPort(address)
		if err != nil {
			return nil, errors.New("want unix:/PATH, or a loopback address and a port such as 127.0.0.1:19101")
		}
		if !at.Addr().IsLoopback() {
			return nil, errors.New("it isn't a loopback address: whoever reaches it can read what runs here")
		}
		return net.Listen("tcp", at.String())
	}
	if !filepath.IsAbs(path) {
		return nil, errors.New("the path of a Unix socket isn't absolute")
	}
	switch st, err := os.Lstat(path); {
	case errors.Is(err, fs.ErrNotExist):
	case err != nil:
		return nil, err
	case st.Mode().Type() != fs.ModeSocket:
		return nil, errors.New("it's there and isn't a socket")
	}
	// It's nobody else's for a moment, and there's none without one.
	next := path + ".next"
	if err := os.Remove(next); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, err
	}
	l, err := net.ListenUnix("unix", &net.UnixAddr{Name: next, Net: "unix"})
	if err != nil {
		return nil, err
	}
	l.SetUnlinkOnClose(false) // the path can be another's by then
	if err := errors.Join(os.Chmod(next, 0o600), os.Rename(next, path)); err != nil {
		l.Close()
		return nil, errors.Join(err, os.Remove(next))
	}
	return l, nil
}

// serve answers Prometheus until the context ends.
func serve(ctx context.Context, l net.Listener, m *metrics) error {
	mux := http.NewServeMux()
	mux.Handle("GET /metrics", promhttp.HandlerFor(m.registry, promhttp.HandlerOpts{
		ErrorHandling: promhttp.ContinueOnError, MaxRequestsInFlight: 4, Timeout: time.Minute,
	}))
	s := http.Server{
		Handler: mux, ReadHeaderTimeout: 5 * time.Second, ReadTimeout: 10 * time.Second, WriteTimeout: 90 * time.Second,
		IdleTimeout: 2 * time.Minute, MaxHeaderBytes: 16 << 10,
	}
	stop := context.AfterFunc(ctx, func() { s.Close() })
	defer stop()
	if err := s.Serve(netutil.LimitListener(l, maxConns)); !errors.Is(err, http.ErrServerClosed) {
		return err
	}
	return nil
}
