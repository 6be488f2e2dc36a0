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
		Long: "Say what attaching a container would do on this host now: the addresses that it would get, the missing things\n" +
			"that would be made, and each change to links, addresses, routes, sysctls and ruleset in its order. The container\n" +
			"needn't exist. Errors are those of ADD, in the same words.\n\n" +
			"CONF is a plugin configuration (.conf) or a list of them (.conflist). In a list the plugin that makes\n" +
			"or lends a link is explained, and vrf; the others are named.\n\n" +
			"With --last it shows the last ADDs and DELs: their containers, their errors, and the microseconds of each step,\n" +
			"without the start of the process. Calls are recorded from --record on until --record off, which removes the\n" +
			"record, or until the host restarts. Recording costs a plugin two system calls.",
		Args: cobra.MaximumNArgs(1),
	}
	f := cmd.Flags()
	f.StringVar(&t.id, "id", "example", "the container's `ID`")
	f.StringVar(&t.ifName, "ifname", defaultIfName, "`name` of the link in the container")
	f.StringVar(&t.mac, "mac", "", "hardware `address` for the link in the container")
	f.StringArrayVar(&t.addrs, "ip", nil, "`address` to ask for; may be repeated")
	last := f.Int("last", defaultLast, "show the last `N` calls instead of explaining an ADD")
	f.Lookup("last").NoOptDefVal = strconv.Itoa(defaultLast)
	asJSON := f.Bool("json", false, "print the last calls as JSON")
	onOff := f.String("record", "", "turn the recording of calls on or off: `on|off`")
	if err := cmd.RegisterFlagCompletionFunc("record", cobra.FixedCompletions([]string{"on", "off"}, cobra.ShellCompDirectiveNoFileComp)); err != nil {
		panic(err) // there is no such flag: a mistake a few lines above
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

// explained are the plugins that make or lend a link.
var explained = []string{"bridge", "ptp", "macvlan", "ipvlan", "vlan", "dummy", "tap", "host-device"}

// explain prints the changes of an ADD with the configuration at path.
func explain(w io.Writer, path string, a cni.Attachment) error {
	conf, err := readFile(path, maxConf)
	if err != nil {
		return atPath(path, err)
	}
	c, err := parseNetconf(path, conf, explained)
	if errors.Is(err, errOtherPlugin) {
		err = errors.New("has no plugin that makes or lends a link")
	}
	if err != nil {
		return atPath(path, err)
	}
	text, err := cni.Explain(c.network, a)
	if err != nil {
		return fmt.Errorf("%s: %w", path, err)
	}
	var others []string
	for _, p := range c.plugins {
		if p.Name != c.main.Name && p.Name != "vrf" {
			others = append(others, p.Name)
		}
	}
	if others != nil {
		text += "then       " + strings.Join(others, ", ") + "\n"
	}
	_, err = io.WriteString(w, text)
	return err
}
