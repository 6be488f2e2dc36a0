// SPDX-License-Identifier: Apache-2.0

package main

import (
	"errors"
	"fmt"
	"io"
	"strconv"
	"strings"

	"github.com/spf13/cobra"
	"github.com/swiftcni/swiftcni/cni"
)

func newExplain() *cobra.Command {
	var t target
	cmd := &cobra.Command{
		Use:   "explain {CONF | --last [N] | --record on|off}",
		Short: "Say what an ADD would do now, or what the last ones did, step by step",
		Long: "Say what attaching a container would do on this host now: which addresses it would get, what is missing and\n" +
			"would be made, and each change to links, addresses, routes, sysctls and ruleset in its order. The container\n" +
			"needn't exist. What ADD would refuse is refused with the same words.\n\n" +
			"CONF is a plugin configuration (.conf) or a list of them (.conflist). Of a list the bridge or ptp plugin is\n" +
			"explained, and the others are named.\n\n" +
			"With --last it shows what the last ADDs and DELs did: whose they were, their errors, and the microseconds that\n" +
			"each step took, without the start of the process. They're recorded once --record on has been called, and until\n" +
			"--record off, which throws them away, or the host's restart. It costs a plugin two system calls.",
		Args: cobra.MaximumNArgs(1),
	}
	f := cmd.Flags()
	f.StringVar(&t.id, "id", "example", "the container's `ID`")
	f.StringVar(&t.ifName, "ifname", defaultIfName, "`name` of the link in the container")
	f.StringVar(&t.mac, "mac", "", "hardware `address` for the link in the container")
	f.StringArrayVar(&t.addrs, "ip", nil, "`address` to ask for; may be repeated")
	last := f.Int("last", defaultLast, "show the last `N` calls in place of what an ADD would do")
	f.Lookup("last").NoOptDefVal = strconv.Itoa(defaultLast)
	asJSON := f.Bool("json", false, "print the last calls as JSON")
	onOff := f.String("record", "", "begin or stop to record calls: `on|off`")
	if err := cmd.RegisterFlagCompletionFunc("record", cobra.FixedCompletions([]string{"on", "off"}, cobra.ShellCompDirectiveNoFileComp)); err != nil {
		panic(err) // there's no such flag: a mistake a few lines above
	}
	cmd.RunE = action(func(cmd *cobra.Command, args []string) error {
		out := cmd.OutOrStdout()
		shows, records := cmd.Flags().Changed("last"), cmd.Flags().Changed("record")
		switch {
		case shows && !records:
			n, err := lastCount(*last, args)
			if err != nil {
				return err
			}
			return showLast(out, n, *asJSON)
		case records && !shows && !*asJSON && len(args) == 0:
			return record(out, *onOff)
		case records || *asJSON || len(args) != 1:
			return &usageError{errors.New("expected one of a configuration, --last, and --record")}
		}
		a, err := t.attachment(cmd)
		if err != nil {
			return err
		}
		return explain(out, args[0], a)
	})
	return cmd
}

// explain prints what an ADD would do by the configuration at path.
func explain(w io.Writer, path string, a cni.Attachment) error {
	c, err := readNetconf(path)
	if err != nil {
		return atPath(path, err)
	}
	text, err := cni.Explain(c.network, a)
	if err != nil {
		return fmt.Errorf("%s: %w", path, err)
	}
	var others []string
	for _, p := range c.plugins {
		if p.Name != c.main.Name {
			others = append(others, p.Name)
		}
	}
	if others != nil {
		text += "then       " + strings.Join(others, ", ") + "\n"
	}
	_, err = io.WriteString(w, text)
	return err
}
