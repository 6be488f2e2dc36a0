// SPDX-License-Identifier: Apache-2.0

package main

import (
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/spf13/cobra"
	"github.com/swiftcni/swiftcni/internal/handover"
)

// finding is a difference from the state that should be.
type finding struct {
	Kind    string `json:"kind"`              // one or two words with a dash, for scripts
	Network string `json:"network,omitempty"` // unset for the host
	Who     string `json:"who,omitempty"`     // CONTAINER/IFNAME
	Problem string `json:"problem"`
	Remedy  string `json:"remedy"`
}

// errFindings makes the exit status 1.
type errFindings int

func (e errFindings) Error() string {
	if e == 1 {
		return "1 thing is wrong"
	}
	return fmt.Sprintf("%d things are wrong", int(e))
}

func newCheck() *cobra.Command {
	cmd := &cobra.Command{
		Use:     "check [CONF...]",
		Aliases: []string{"doctor"},
		Short:   "Compare the kernel's state with the state that should be, and name remedies; also called doctor",
		Long: "Compare leases, links, ruleset and configurations with each other. Nothing is changed. Each finding comes with\n" +
			"its remedy:\n\n" +
			"  lease-without-link     a lease whose container is provably gone\n" +
			"  link-without-lease     a container's address that the store may give away\n" +
			"  element-without-link   rules for a container that is gone\n" +
			"  missing-rules          a live container whose masquerade, spoof check or ports aren't in the ruleset\n" +
			"  missing-gateway        a bridge without the address that its containers send to\n" +
			"  bridge-down            a bridge that carries nothing\n" +
			"  no-forwarding          net.ipv4.ip_forward, or IPv6's, is off\n" +
			"  barrier                another firewall drops forwarded packets, and no plugin lets them through\n" +
			"  missing-jump           the way through iptables' FORWARD is gone\n" +
			"  firewalld              firewalld rejects packets from containers: no zone has them\n" +
			"  port-closed            a firewall drops packets from outside for a published port\n" +
			"  port-conflict          a published port that another rule or a program of the host also wants\n" +
			"  legacy-drop            FORWARD of iptables-legacy drops packets from containers\n" +
			"  legacy-rules           rules of the CNI project's plugins in iptables-legacy\n" +
			"  missing-route          a container of ptp to which the host has no route\n" +
			"  no-router              an uplink that has lost the IPv6 default route of a router advertisement\n" +
			"  dormant-table          a table of ours that the kernel skips\n" +
			"  many-chains            more chains than needed, each a cost for every connection\n" +
			"  resident-silent        the resident's socket is there, and nobody answers\n" +
			"  resident-apart         the resident makes no calls of this place\n" +
			"  resident-version       the resident is of another version than swiftctl\n" +
			"  check                  other errors of the plugins' CHECK, for containers in libcni's cache\n" +
			"  old-policy             a bridge's ingress policy that the CNI project's firewall plugin left\n" +
			"  damaged-leases         files in a directory of leases that aren't leases, or have no possible owner\n\n" +
			"Networks of containers in libcni's cache need no configuration.\n" +
			confsHelp + " The exit status is 1 if anything is found, or if something can't be read.",
	}
	conf, dirs := confFlag(cmd), dataDirFlag(cmd)
	cache := cacheFlag(cmd)
	asJSON := cmd.Flags().Bool("json", false, "print JSON")
	cmd.RunE = action(func(cmd *cobra.Command, args []string) error {
		confs, confErr := readConfs(args, *conf, cmd.Flags().Changed("conf-dir"))
		confs = withCached(confs, *cache)
		list, err := examine(cmd.Context(), confs, *dirs, cmd.Flags().Changed("data-dir"), *cache)
		if len(list) > 0 {
			// Something that changes meanwhile looks wrong for a moment. A real fault stays.
			var again []finding
			again, err = examine(cmd.Context(), confs, *dirs, cmd.Flags().Changed("data-dir"), *cache)
			list = slices.DeleteFunc(list, func(f finding) bool { return !slices.Contains(again, f) })
		}
		if err = join(confErr, err); err == nil && len(list) > 0 {
			err = errFindings(len(list))
		}
		if *asJSON {
			return join(printListJSON(cmd.OutOrStdout(), list), err)
		}
		if len(list) == 0 && err == nil {
			_, err = fmt.Fprintf(cmd.OutOrStdout(), "nothing is wrong (configurations looked at: %d)\n%s", len(confs), residentNote(cmd.Context(), handover.Socket))
		}
		return join(printFindings(cmd.OutOrStdout(), list), err)
	})
	return cmd
}

func printFindings(w io.Writer, list []finding) error {
	for _, f := range list {
		where := strings.TrimSuffix(f.Network+"/"+f.Who, "/")
		if f.Network == "" {
			where = "host"
		}
		if _, err := fmt.Fprintf(w, "%-21s %s\n    %s\n    remedy: %s\n", f.Kind, where, printable(f.Problem), printable(f.Remedy)); err != nil {
			return err
		}
	}
	return nil
}
