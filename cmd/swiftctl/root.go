// SPDX-License-Identifier: Apache-2.0

package main

import (
	"errors"
	"fmt"
	"strings"

	"github.com/spf13/cobra"
)

func newRoot() *cobra.Command {
	root := &cobra.Command{
		Use:   "swiftctl",
		Short: "Attach containers to networks, and see what is attached",
		Long: "Attach containers to networks, and see what is attached. Runtimes don't need it: they call the plugins, which are\n" +
			"the program swiftcni. It looks at the traces of the plugins on the host: leases, links and the ruleset. So it needs\n" +
			"no daemon, and no memory of its own.",
		Args:          cobra.NoArgs,
		Version:       versionText(),
		SilenceUsage:  true,
		SilenceErrors: true,
		RunE:          func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	root.SetVersionTemplate("{{.Version}}")
	root.AddCommand(newAttach(), newBench(), newDetach(), newDHCP(), newLs(), newCheck(), newSync(), newExplain(), newAdopt(), newGC(), newHook(), newInstall(), newServe(), newRest(), newTry(), newVersion())
	return root
}

// one wants one argument, which it describes in its error.
func one(what string) cobra.PositionalArgs {
	return func(_ *cobra.Command, args []string) error {
		switch len(args) {
		case 0:
			return errors.New("an argument is missing: " + what)
		case 1:
			return nil
		}
		return fmt.Errorf("%d arguments (%s), expected one: %s", len(args), strings.Join(args, ", "), what)
	}
}

// oneConf is the argument CONF.
func oneConf() cobra.PositionalArgs { return one("CONF, a configuration's path") }

// action turns the function of a command into one for cobra, and tells failures from wrong usage.
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
