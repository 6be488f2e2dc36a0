// SPDX-License-Identifier: Apache-2.0

package main

import (
	"cmp"
	"context"
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
	"github.com/swiftcni/swiftcni/internal/tuning"
	"github.com/swiftcni/swiftcni/ipam"
	"github.com/swiftcni/swiftcni/nft"
)

func newGC() *cobra.Command {
	var c collecting
	cmd := &cobra.Command{
		Use:   "gc",
		Short: "End what is left of attachments that are provably dead",
		Long: "End the leases and rules of attachments that are provably dead, and what the plugin tuning saved for them, and\n" +
			"list whose they were. Proof is that no namespace that may have an end of the attachment's link has one, or that\n" +
			"the boot of the host has ended that it was made in; another boot ID alone, or a link that looks otherwise, is none.\n" +
			"Attachments of other network namespaces, and leases that host-local took, are never touched.\n\n" +
			"It needs no configuration, so it suits a timer; those in --conf-dir, if there are any, say where else leases\n" +
			"are. Nothing is printed where nothing had to be done, and one network's error, which makes the exit status 1,\n" +
			"doesn't keep the others from being cleaned.",
		Args: cobra.NoArgs,
	}
	dirs, conf := dataDirFlag(cmd), confFlag(cmd)
	f := cmd.Flags()
	f.StringArrayVar(&c.networks, "network", nil, "`name` of a network to clean, in place of all; may be repeated")
	f.BoolVarP(&c.dry, "dry-run", "n", false, "list what would end, and do nothing")
	asJSON := f.Bool("json", false, "print JSON")
	cmd.RunE = action(func(cmd *cobra.Command, _ []string) error {
		confs, _ := readConfs(nil, *conf, false) // a wrong one is no reason to clean less
		named := cmd.Flags().Changed("data-dir")
		if c.dirs = *dirs; !named {
			c.dirs = dataDirs(*dirs, confs)
		}
		err := c.run(confs)
		print := printReclaimed
		if *asJSON {
			print = printListJSON[*reclaimed]
		}
		return join(print(cmd.OutOrStdout(), c.list), err)
	})
	return cmd
}

// reclaimed is an attachment that was dead, and what it no longer holds.
type reclaimed struct {
	Network     string       `json:"network"`
	ContainerID string       `json:"containerID"`
	IfName      string       `json:"ifName"`
	Addresses   []netip.Addr `json:"addresses"`
	Rules       string       `json:"rules,omitempty"`  // that were there without a lease, in words
	Tuning      bool         `json:"tuning,omitempty"` // a file of the plugin tuning's
}

// collecting is one call of gc.
type collecting struct {
	dry      bool
	dirs     []string // of leases
	networks []string // nil is all
	list     []*reclaimed
}

// run goes on after an error: what one network has wrong is no reason to leave the others'.
func (c *collecting) run(confs []*netconf) (err error) {
	c.dirs = existing(c.dirs, false)
	if !c.dry {
		err = c.leases()
	}
	err = join(err, c.rules(confs), c.saved(confs))
	slices.SortStableFunc(c.list, func(a, b *reclaimed) int {
		return cmp.Or(strings.Compare(a.Network, b.Network), strings.Compare(a.ContainerID, b.ContainerID), strings.Compare(a.IfName, b.IfName))
	})
	return err
}

// of returns an owner's entry, a new one if need be.
func (c *collecting) of(network, containerID, ifName string) *reclaimed {
	for _, r := range c.list {
		if r.Network == network && r.ContainerID == containerID && r.IfName == ifName {
			return r
		}
	}
	r := &reclaimed{Network: network, ContainerID: containerID, IfName: ifName, Addresses: []netip.Addr{}}
	c.list = append(c.list, r)
	return r
}

func (c *collecting) chosen(h *held) bool {
	return c.networks == nil || slices.ContainsFunc(c.networks, func(name string) bool {
		return nft.Owner{Network: name}.Short().Network == h.owner().Short().Network
	})
}

// leases ends leases, each network's by itself, and the rules that go with them.
func (c *collecting) leases() (err error) {
	for _, dir := range c.dirs {
		names := slices.Clone(c.networks)
		if names == nil {
			var dirErr error
			names, dirErr = networksIn(dir)
			err = join(err, dirErr)
		}
		slices.Sort(names)
		for _, name := range slices.Compact(names) {
			ended, networkErr := reclaimNetwork(dir, name)
			if networkErr != nil {
				err = join(err, fmt.Errorf("network %q: %w", name, networkErr))
			}
			for _, r := range ended {
				to := c.of(name, r.Owner.ContainerID, r.Owner.IfName)
				to.Addresses = append(to.Addresses, r.Addrs...)
			}
		}
	}
	return err
}

// rules takes out rules that belong to nobody. A dry run lists here too whose leases would end.
func (c *collecting) rules(confs []*netconf) error {
	n, err := readNode(c.dirs)
	if n.blind != nil {
		return err // half a picture would take live containers for dead ones
	}
	n.know(confs)
	for _, h := range n.list {
		if c.dry && h.leased && h.Exists == missing && c.chosen(h) {
			to := c.of(h.Network, h.ContainerID, h.IfName)
			to.Addresses = append(to.Addresses, h.Addresses...)
		}
	}
	sweep := sweeping{dry: c.dry, dirs: c.dirs, node: n, done: func(h *held) {
		c.of(h.Network, h.ContainerID, h.IfName).Rules = h.elements()
	}}
	return join(err, sweep.run(c.chosen))
}

// saved removes what tuning saved.
func (c *collecting) saved(confs []*netconf) (err error) {
	for _, dir := range tuningDirs(confs) {
		owners, dirErr := tuning.ForgetDead(dir, c.networks, c.dry)
		err = join(err, dirErr)
		for _, o := range owners {
			c.of(o.Network, o.ContainerID, o.IfName).Tuning = true
		}
	}
	return err
}

// tuningDirs are where the plugin tuning keeps what it saves.
func tuningDirs(confs []*netconf) []string {
	dirs := []string{tuning.DefaultDir}
	for _, c := range confs {
		for _, p := range c.plugins {
			if p.SavedDir != "" && !slices.Contains(dirs, p.SavedDir) {
				dirs = append(dirs, p.SavedDir)
			}
		}
	}
	return dirs
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
	return cni.ReclaimLeases(context.Background(), dir, network)
}

// hasEvidence reports whether any attachment of a network could be proven dead.
func hasEvidence(dir, network string) (found bool, err error) {
	store, err := ipam.OpenReadOnly(context.Background(), dir, network)
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

func printReclaimed(w io.Writer, list []*reclaimed) error {
	if len(list) == 0 {
		if isTerminal(w) {
			fmt.Fprintln(w, "nothing is left of anybody who is provably dead")
		}
		return nil
	}
	return fit(w, func(w io.Writer, id func(string) string) error { return reclaimedTable(w, list, id) })
}

func reclaimedTable(w io.Writer, list []*reclaimed, id func(string) string) error {
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprintln(t, "NETWORK\tCONTAINER\tIFNAME\tADDRESSES\tALSO")
	for _, r := range list {
		var others []string
		if r.Rules != "" {
			others = append(others, r.Rules)
		}
		if r.Tuning {
			others = append(others, "what tuning saved")
		}
		if others == nil {
			others = []string{"-"}
		}
		fmt.Fprintf(t, "%s\t%s\t%s\t%s\t%s\n", r.Network, id(r.ContainerID), cell(r.IfName), cell(joinAddrs(r.Addresses)), strings.Join(others, ", "))
	}
	return t.Flush()
}
