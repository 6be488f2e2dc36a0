// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"fmt"
	"log"
	"os"
	"os/signal"
	"runtime/debug"

	"github.com/spf13/cobra"
	"github.com/swiftcni/swiftcni/internal/handover"
	"github.com/swiftcni/swiftcni/internal/resident"
	"golang.org/x/sys/unix"
)

func newServe() *cobra.Command {
	var path string
	cmd := &cobra.Command{
		Use:   "serve",
		Short: "Stay, and make the plugins' calls",
		Long: "Answer the plugins' calls in this process, so that a call costs no start of a Go program. The plugins find it by\n" +
			"its socket, and make a call themselves if nobody answers there, if they run in other namespaces than this\n" +
			"process, or if they have fewer capabilities. Runtimes notice nothing of it.\n\n" +
			"It keeps no state that matters: it may be killed or replaced at any time. An ADD that runs when it's killed ends\n" +
			"with error 11, try again later. Any other call is made again by the plugin itself. After SIGTERM or SIGINT it takes\n" +
			"no more calls, and ends once those that run are over. Another resident that is started meanwhile takes the socket\n" +
			"over, so that none is missing while it's upgraded.\n\n" +
			"systemd may make the socket and start it by that. Then --socket counts for nothing. It tells systemd when it's\n" +
			"ready and when it stops, and feeds the watchdog as long as it answers a call of its own. install --units writes\n" +
			"the units.\n\n" +
			"--host is for a container that has the host's network and PID namespaces, such as a pod with hostNetwork and\n" +
			"hostPID, and that may enter its mount namespace.",
		Args: cobra.NoArgs,
	}
	conf, dirs, cache := confFlag(cmd), dataDirFlag(cmd), cacheFlag(cmd)
	var k keeping
	cmd.Flags().DurationVar(&k.every, "gc", 0, "also do the work of gc, each `time`, such as 10m")
	cmd.Flags().BoolVar(&k.restore, "restore", false, "also do the work of sync, when rules of containers may have been removed")
	verbose := cmd.Flags().BoolP("verbose", "v", false, "print each call on standard error")
	cmd.Flags().StringVar(&path, "socket", handover.Socket, "`path` of the socket; the plugins look at the default only")
	cmd.Flags().DurationVar(&k.watchdog, "watchdog", 0, "abort if no call of its own is answered for a `time`, such as 1m, where another than systemd starts it again")
	host := cmd.Flags().Bool("host", false, "serve in the mount namespace of process 1, not in a container's own")
	cmd.RunE = action(func(cmd *cobra.Command, _ []string) error {
		if err := k.check(); err != nil {
			return err
		}
		if *host {
			if err := enterHost(); err != nil {
				return err
			}
		}
		ctx, stop := signal.NotifyContext(cmd.Context(), unix.SIGTERM, unix.SIGINT)
		defer stop()
		k.conf, k.cache, k.dirs, k.dirsNamed, k.log = *conf, *cache, *dirs, cmd.Flags().Changed("data-dir"), cmd.ErrOrStderr()
		return serve(ctx, path, *verbose, &k)
	})
	return cmd
}

// serve answers calls until the context ends.
func serve(ctx context.Context, path string, verbose bool, k *keeping) error {
	logger := log.New(os.Stderr, "swiftctl serve: ", 0)
	o := resident.Options{Log: func(text string) { logger.Print(text) }}
	if verbose {
		o.Done = func(c resident.Call) {
			outcome := "done"
			if c.Err != nil {
				outcome = oneLine(c.Err)
			}
			logger.Printf("%s %s %.1f ms: %s", c.Plugin, c.Verb, float64(c.Took.Microseconds())/1000, outcome)
		}
	}
	s, err := resident.New(o)
	if err != nil {
		return fmt.Errorf("find out where this process is: %w", err)
	}
	k.tell = s.Reclaimed
	// Calls allocate little, and the heap's least size is most of what a resident takes.
	debug.SetGCPercent(50)
	l, where, err := listen(path)
	if err != nil {
		return err
	}
	ctx, stop := context.WithCancel(ctx)
	defer stop()
	end, err := supervised(ctx, where, k.watchdog, func(text string) { logger.Print(text) })
	if err != nil {
		l.Close()
		return err
	}
	defer end()
	kept := make(chan error, 1)
	go func() {
		defer stop() // a resident that can't do all of its work isn't taken for one that does
		kept <- k.run(ctx)
	}()
	err = s.Serve(ctx, l)
	stop()
	return join(err, <-kept)
}
