// SPDX-License-Identifier: Apache-2.0

package main

import (
	"fmt"
	"io"

	"github.com/spf13/cobra"
	"github.com/swiftcni/swiftcni/cni"
)

func newAttach() *cobra.Command {
	var t target
	cmd := &cobra.Command{
		Use:   "attach --id ID {--netns PATH | --pid PID} CONF",
		Short: "Attach a container to a network, and print the result",
		Long: "Attach a container to a network. The result is printed as JSON in the form of the configuration's CNI\n" +
			"version, or as a short text where standard output is a terminal.\n\n" + confHelp + stdinHelp,
		Args: cobra.ExactArgs(1),
	}
	t.flags(cmd)
	asJSON := cmd.Flags().Bool("json", false, "print JSON on a terminal too")
	cmd.MarkFlagsOneRequired("netns", "pid")
	cmd.RunE = action(func(cmd *cobra.Command, args []string) error {
		a, err := t.attachment(cmd)
		if err != nil {
			return err
		}
		c, err := readConf(args[0], cmd.InOrStdin(), cni.Parse)
		if err != nil {
			return err
		}
		res, err := cni.Attach(cmd.Context(), c.network, a)
		if err != nil {
			return err
		}
		c.notRun(cmd.ErrOrStderr())
		out := cmd.OutOrStdout()
		if !*asJSON && isTerminal(out) {
			return printAttached(out, c.network, a, res)
		}
		return printJSON(out, res)
	})
	return cmd
}

func printJSON(out io.Writer, res *cni.Result) error {
	text, err := res.MarshalJSON()
	if err != nil {
		return err
	}
	_, err = fmt.Fprintf(out, "%s\n", text)
	return err
}
