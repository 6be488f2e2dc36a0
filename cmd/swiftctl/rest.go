// SPDX-License-Identifier: Apache-2.0

package main

import (
	"os/signal"

	"github.com/spf13/cobra"
	"golang.org/x/sys/unix"
)

// newRest is what keeps a pod whose first container has installed the plugins: its image has no other program, and one that's in
// use isn't removed from the node.
func newRest() *cobra.Command {
	return &cobra.Command{
		Use:   "rest",
		Short: "Do nothing until SIGTERM or SIGINT, as a pod that has installed the plugins does",
		Args:  cobra.NoArgs,
		RunE: action(func(cmd *cobra.Command, _ []string) error {
			ctx, stop := signal.NotifyContext(cmd.Context(), unix.SIGTERM, unix.SIGINT)
			defer stop()
			<-ctx.Done()
			return nil
		}),
	}
}
