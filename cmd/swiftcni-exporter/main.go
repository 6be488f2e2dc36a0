// SPDX-License-Identifier: Apache-2.0

// Command swiftcni-exporter tells Prometheus, and a collector of traces, of the calls that swiftcni's
// resident makes, and Prometheus of the host's leases and ports. It speaks HTTP so that the resident,
// which does root's work, needn't.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"log"
	"net"
	"os"
	"os/signal"

	"github.com/swiftcni/swiftcni/cni"
	"github.com/swiftcni/swiftcni/internal/handover"
	"github.com/swiftcni/swiftcni/ipam"
	"golang.org/x/sys/unix"
)

const program = "swiftcni-exporter"

// options are the command line's.
type options struct {
	listen  string
	otlp    string
	socket  string
	conf    string
	dataDir string
	version bool
}

// errUsage is a command line that makes no sense, which has been said.
var errUsage = errors.New("usage")

// flags reads a command line.
func flags(args []string, out io.Writer) (o options, err error) {
	f := flag.NewFlagSet(program, flag.ContinueOnError)
	f.SetOutput(out)
	f.StringVar(&o.listen, "listen", "", "answer Prometheus at an `address`: unix:/PATH, or a loopback address and a port such as 127.0.0.1:19101")
	f.StringVar(&o.otlp, "otlp", "", "send traces to a collector's `URL`, such as http://127.0.0.1:4318")
	f.StringVar(&o.socket, "socket", handover.Socket, "`path` of the resident's socket")
	f.StringVar(&o.conf, "conf-dir", "/etc/cni/net.d", "`directory` of configurations, whose ranges are counted")
	f.StringVar(&o.dataDir, "data-dir", ipam.DefaultDir, "`directory` of leases, beside those that configurations name")
	f.BoolVar(&o.version, "version", false, "print the version")
	f.Usage = func() {
		fmt.Fprintf(out, "usage: %s --listen ADDRESS [flags]\n\nTell Prometheus of the calls that swiftcni's resident makes, and of leases and ports.\n\n", program)
		f.PrintDefaults()
	}
	if err := f.Parse(args); err != nil {
		return o, err
	}
	switch {
	case o.version:
	case f.NArg() > 0:
		err = fmt.Errorf("unexpected argument %q", f.Arg(0))
	case o.listen == "":
		err = errors.New("--listen says where Prometheus asks: unix:/PATH, or a loopback address and a port such as 127.0.0.1:19101")
	}
	if err != nil {
		fmt.Fprintf(out, "%s: %v\n", program, err)
		return o, errUsage
	}
	return o, nil
}

func main() {
	o, err := flags(os.Args[1:], os.Stderr)
	switch {
	case errors.Is(err, flag.ErrHelp):
		return
	case err != nil:
		os.Exit(2)
	case o.version:
		fmt.Println(cni.Version())
		return
	}
	ctx, stop := signal.NotifyContext(context.Background(), unix.SIGTERM, unix.SIGINT)
	defer stop()
	logger := log.New(os.Stderr, program+": ", 0)
	if err := run(ctx, o, logger); err != nil {
		logger.Fatal(err)
	}
}

// run works until the context ends.
func run(ctx context.Context, o options, logger *log.Logger) error {
	l, err := listen(o.listen)
	if err != nil {
		return fmt.Errorf("--listen %s: %w", o.listen, err)
	}
	defer l.Close()
	m := newMetrics(inventory{conf: o.conf, dataDir: o.dataDir})
	each := m.event
	if o.otlp != "" {
		t, err := newTraces(ctx, o.otlp, m, logger)
		if err != nil {
			return fmt.Errorf("--otlp %s: %w", o.otlp, err)
		}
		defer t.end()
		each = both(m.event, t.event)
	}
	ctx, stop := context.WithCancel(ctx)
	defer stop()
	f := feed{path: o.socket, metrics: m, each: each, log: logger}
	followed := make(chan struct{})
	go func() {
		defer close(followed)
		f.run(ctx)
	}()
	err = serve(ctx, l, m)
	stop()
	<-followed
	if errors.Is(err, net.ErrClosed) {
		return nil
	}
	return err
}
