// SPDX-License-Identifier: Apache-2.0

package main

import (
	"fmt"
	"strings"

	"github.com/spf13/cobra"
	"github.com/swiftcni/swiftcni/cni"
)

func newExplain() *cobra.Command {
	var t target
	cmd := &cobra.Command{
		Use:   "explain CONF",
		Short: "Say what an ADD would do now, step by step, and do nothing",
		Long: "Say what attaching a container would do on this host now: which addresses it would get, what is missing and\n" +
			"would be made, and each change to links, addresses, routes, sysctls and ruleset in its order. The container\n" +
			"needn't exist. What ADD would refuse is refused with the same words.\n\n" +
			"CONF is a plugin configuration (.conf) or a list of them (.conflist). Of a list the bridge or ptp plugin is\n" +
			"explained, and the others are named.",
		Args: cobra.ExactArgs(1),
	}
	f := cmd.Flags()
	f.StringVar(&t.id, "id", "example", "the container's `ID`")
	f.StringVar(&t.ifName, "ifname", defaultIfName, "`name` of the link in the container")
	f.StringVar(&t.mac, "mac", "", "hardware `address` for the link in the container")
	f.StringArrayVar(&t.addrs, "ip", nil, "`address` to ask for; may be repeated")
	cmd.RunE = action(func(cmd *cobra.Command, args []string) error {
		a, err := t.attachment(cmd)
		if err != nil {
			return err
		}
		c, err := readNetconf(args[0])
		if err != nil {
			return fmt.Errorf("%s: %w", args[0], err)
		}
		text, err := cni.Explain(c.network, a)
		if err != nil {
			return fmt.Errorf("%s: %w", args[0], err)
		}
		var others []string
		for _, p := range c.plugins {
			if p.kind != c.network.Plugin() {
				others = append(others, p.kind)
			}
		}
		if others != nil {
			text += "then       " + strings.Join(others, ", ") + "\n"
		}
		_, err = fmt.Fprint(cmd.OutOrStdout(), text)
		return err
	})
	return cmd
}
