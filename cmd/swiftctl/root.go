// SPDX-License-Identifier: Apache-2.0

package main

import (
	"errors"

	"github.com/spf13/cobra"
)

func newRoot() *cobra.Command {
	root := &cobra.Command{
		Use:   "swiftctl",
		Short: "Attach containers to networks, and see what is attached",
		Long: "Attach containers to networks, and see what is attached. Runtimes don't need it: they call the plugins, which are\n" +
			"the program swiftcni. It looks at the host by what the plugins leave there: leases, links and the ruleset; so it\n" +
			"needs no daemon, and no memory of its own.",
		Args:          cobra.NoArgs,
		SilenceUsage:  true,
		SilenceErrors: true,
		RunE:          func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	root.AddCommand(newAttach(), newDetach(), newLs(), newCheck(), newSync(), newExplain(), newAdopt(), newGC(), newHook(), newInstall(), newVersion())
	return root
}

// action turns what a command does into what cobra runs, and tells failures from wrong usage.
func action(fn func(cmd *cobra.Command, args []string) error) func(*cobra.Command, []string) error {
	return func(cmd *cobra.Command, args []string) error {
		err := fn(cmd, args)
		var usage *usageError
		if err == nil || errors.As(err, &usage) {
			return err
		}
		return &failure{err}
	}
}
