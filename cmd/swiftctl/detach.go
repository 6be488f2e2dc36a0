// SPDX-License-Identifier: Apache-2.0

package main

import (
	"fmt"

	"github.com/spf13/cobra"
)

func newDetach() *cobra.Command {
	var t target
	cmd := &cobra.Command{
		Use:   "detach --id ID [--netns PATH | --pid PID] CONF",
		Short: "Detach a container from a network; to do so twice is no error",
		Long: "Detach a container from a network and give its addresses back. The namespace may be gone or left out.\n" +
			"--mac and --ip are accepted and ignored, so that the flags of attach can be repeated.\n\n" + confHelp + stdinHelp,
		Args: oneConf(),
	}
	t.flags(cmd)
	cmd.RunE = action(func(cmd *cobra.Command, args []string) error {
		a, err := t.attachment(cmd)
		if err != nil {
			return err
		}
		n, err := readConf(args[0], cmd.InOrStdin(), true)
		if err != nil {
			return err
		}
		if err := detachRecorded(t.context(cmd), n, a); err != nil {
			return err
		}
		if out := cmd.OutOrStdout(); isTerminal(out) {
			fmt.Fprintf(out, "%s is detached from %s: %s is gone, its addresses are free\n", a.ContainerID, n.Name(), a.IfName)
		}
		return nil
	})
	return cmd
}
