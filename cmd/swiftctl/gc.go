// SPDX-License-Identifier: Apache-2.0

package main

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/netip"
	"slices"
	"strings"
	"text/tabwriter"

	"github.com/spf13/cobra"
	"github.com/swiftcni/swiftcni/cni"
	"github.com/swiftcni/swiftcni/ipam"
)

func newGC() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "gc",
		Short: "End the leases of attachments that are provably dead",
		Long: "End the leases and rules of attachments that are provably dead, and list whose they were. Proof is another\n" +
			"boot of the host, or the absence of the attachment's link in this network namespace. Attachments of other\n" +
			"network namespaces, and leases that host-local took, are never touched. It needs no configuration, so it\n" +
			"suits a timer: nothing is printed where nothing had to be done, and one network's error, which makes the\n" +
			"exit status 1, doesn't keep the others from being cleaned.",
		Args: cobra.NoArgs,
	}
	f := cmd.Flags()
	dir := f.String("data-dir", ipam.DefaultDir, "`directory` of the leases: host-local's dataDir")
	networks := f.StringArray("network", nil, "`name` of a network to clean, in place of all; may be repeated")
	asJSON := f.Bool("json", false, "print JSON")
	cmd.RunE = action(func(cmd *cobra.Command, _ []string) error {
		names, err := *networks, error(nil)
		if names == nil {
			if names, err = networksIn(*dir); errors.Is(err, fs.ErrNotExist) {
				err = nil // nothing was leased here since the host started, or ever
			}
		}
		list, reclaimErr := reclaim(*dir, names)
		print := printReclaimed
		if *asJSON {
			print = printListJSON[reclaimed]
		}
		return errors.Join(print(cmd.OutOrStdout(), list), err, reclaimErr)
	})
	return cmd
}

// reclaimed is an attachment that was dead, and what it no longer holds.
type reclaimed struct {
	Network     string       `json:"network"`
	ContainerID string       `json:"containerID"`
	IfName      string       `json:"ifName"`
	Addresses   []netip.Addr `json:"addresses"`
}

// reclaim cleans each network, by name, as far as the errors allow.
func reclaim(dir string, networks []string) (list []reclaimed, err error) {
	networks = slices.Clone(networks)
	slices.Sort(networks)
	for _, network := range slices.Compact(networks) {
		ended, networkErr := reclaimNetwork(dir, network)
		if networkErr != nil {
			err = errors.Join(err, fmt.Errorf("network %q: %w", network, networkErr))
		}
		for _, r := range ended {
			list = append(list, reclaimed{network, r.Owner.ContainerID, r.Owner.IfName, slices.Clip(r.Addrs)})
		}
	}
	return list, err
}

// reclaimNetwork leaves a network alone in which no record can prove anything: it has no lock of its own made, either.
func reclaimNetwork(dir, network string) ([]ipam.Record, error) {
	proven, err := hasEvidence(dir, network)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil || !proven {
		return nil, err
	}
	ended, err := cni.Reclaim(dir, network)
	slices.SortFunc(ended, func(a, b ipam.Record) int { return strings.Compare(a.Owner.String(), b.Owner.String()) })
	return ended, err
}

// hasEvidence reports whether any attachment of a network could be proven dead.
func hasEvidence(dir, network string) (found bool, err error) {
	store, err := ipam.OpenReadOnly(dir, network)
	if err != nil {
		return false, err
	}
	for r, recordErr := range store.Records() {
		if recordErr != nil {
			err = recordErr
			break
		}
		if found = r.Boot != ""; found {
			break
		}
	}
	return found, errors.Join(err, store.Close())
}

func printReclaimed(w io.Writer, list []reclaimed) error {
	if len(list) == 0 {
		return nil
	}
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprintln(t, "NETWORK\tCONTAINER\tIFNAME\tADDRESSES")
	for _, r := range list {
		fmt.Fprintf(t, "%s\t%s\t%s\t%s\n", r.Network, cell(r.ContainerID), cell(r.IfName), cell(joinAddrs(r.Addresses)))
	}
	return t.Flush()
}
