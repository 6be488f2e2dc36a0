// SPDX-License-Identifier: Apache-2.0

package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"iter"
	"net/netip"
	"slices"
	"strings"
	"text/tabwriter"

	"github.com/spf13/cobra"
	"github.com/swiftcni/swiftcni/internal/tuning"
	"github.com/swiftcni/swiftcni/internal/veth"
	"github.com/swiftcni/swiftcni/ipam"
	"github.com/swiftcni/swiftcni/nft"
)

func newGC() *cobra.Command {
	var c collecting
	cmd := &cobra.Command{
		Use:   "gc",
		Short: "Remove the remains of attachments that are provably dead",
		Long: "End the leases and rules of attachments that are provably dead, remove the attributes that the plugin tuning\n" +
			"saved for them, and list their owners. There are two proofs: no namespace that may have an end of the\n" +
			"attachment's link has one, or the boot of the host in which it was made has ended. Another boot ID alone is no\n" +
			"proof, nor is a link that looks different. Attachments of other network namespaces, and leases that host-local\n" +
			"made, are never touched.\n\n" +
			"It needs no configuration, so it suits a timer. Configurations in --conf-dir, if there are any, name further\n" +
			"directories of leases. If there was nothing to do, nothing is printed. An error of one network makes the exit\n" +
			"status 1, and the other networks are cleaned all the same.",
		Args: cobra.NoArgs,
	}
	dirs, conf := dataDirFlag(cmd), confFlag(cmd)
	f := cmd.Flags()
	f.StringArrayVar(&c.networks, "network", nil, "`name` of a network to clean, instead of all; may be repeated")
	f.BoolVarP(&c.dry, "dry-run", "n", false, "only list what would end")
	asJSON := f.Bool("json", false, "print JSON")
	cmd.RunE = action(func(cmd *cobra.Command, _ []string) error {
		confs, _ := readConfs(nil, *conf, false) // a wrong one is no reason to clean less
		named := cmd.Flags().Changed("data-dir")
		if c.dirs = *dirs; !named {
			c.dirs = dataDirs(*dirs, confs)
		}
		err := c.run(cmd.Context(), confs)
		show := printReclaimed
		if *asJSON {
			show = printListJSON[*reclaimed]
		}
		return join(show(cmd.OutOrStdout(), c.list), err)
	})
	return cmd
}

// reclaimed is an attachment that was dead, and everything that it no longer holds.
type reclaimed struct {
	Network     string       `json:"network"`
	ContainerID string       `json:"containerID"`
	IfName      string       `json:"ifName"`
	Addresses   []netip.Addr `json:"addresses"`
	Rules       string       `json:"rules,omitempty"`  // rules without a lease, in words
	Tuning      bool         `json:"tuning,omitempty"` // a file of the plugin tuning
}

// collecting is one call of gc.
type collecting struct {
	dry      bool
	dirs     []string // of leases
	networks []string // nil is all
	list     []*reclaimed
}

// run goes on after an error: a fault of one network is no reason to leave the others.
func (c *collecting) run(ctx context.Context, confs []*netconf) (err error) {
	c.dirs = existing(c.dirs, false)
	if !c.dry {
		err = c.leases(ctx)
	}
	err = join(err, c.rules(ctx, confs), c.saved(confs))
	slices.SortStableFunc(c.list, func(a, b *reclaimed) int {
		return cmp.Or(strings.Compare(a.Network, b.Network), strings.Compare(a.ContainerID, b.ContainerID), strings.Compare(a.IfName, b.IfName))
	})
	return err
}

// of returns an owner's entry, or a new one.
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

// leasesEnded is how many attachments had leases that have ended.
func (c *collecting) leasesEnded() (n int) {
	for _, r := range c.list {
		if len(r.Addresses) > 0 {
			n++
		}
	}
	return n
}

func (c *collecting) chosen(h *held) bool {
	return c.networks == nil || slices.ContainsFunc(c.networks, func(name string) bool {
		return nft.Owner{Network: name}.Short().Network == h.owner().Short().Network
	})
}

// leases ends leases, each network's by itself, and the rules that go with them.
func (c *collecting) leases(ctx context.Context) (err error) {
	for _, dir := range c.dirs {
		names := slices.Clone(c.networks)
		if names == nil {
			var dirErr error
			names, dirErr = networksIn(dir)
			err = join(err, dirErr)
		}
		slices.Sort(names)
		for _, name := range slices.Compact(names) {
			ended, networkErr := reclaimNetwork(ctx, dir, name)
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

// rules removes rules that belong to nobody. A dry run also lists here the attachments whose leases
// would end.
func (c *collecting) rules(ctx context.Context, confs []*netconf) error {
	n, err := readNode(ctx, c.dirs)
	if n.blind != nil {
		return err // with half of the facts, live containers would look dead
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
	return join(err, sweep.run(ctx, c.chosen))
}

// saved removes the attributes that tuning saved.
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

// tuningDirs are the directories in which the plugin tuning saves attributes.
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

// reclaimNetwork leaves a network alone if none of its records can prove anything. Nor does it make
// a lock there.
func reclaimNetwork(ctx context.Context, dir, network string) ([]ipam.Record, error) {
	proven, err := hasEvidence(ctx, dir, network)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil || !proven {
		return nil, err
	}
	return veth.ReclaimLeases(ctx, dir, network)
}

// hasEvidence reports whether any attachment of a network could be proven dead.
func hasEvidence(ctx context.Context, dir, network string) (found bool, err error) {
	store, err := ipam.OpenReadOnly(ctx, dir, network)
	if err != nil {
		return false, err
	}
	defer func() { err = errors.Join(err, store.Close()) }()
	for r, err := range store.Records() {
		if err != nil || r.Boot != "" {
			return err == nil, err
		}
	}
	next, stop := iter.Pull2(store.Leaseless())
	defer stop()
	_, err, found = next()
	return found && err == nil, err
}

func printReclaimed(w io.Writer, list []*reclaimed) error {
	if len(list) == 0 {
		if isTerminal(w) {
			fmt.Fprintln(w, "no attachment is provably dead")
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
			others = append(others, "attributes saved by tuning")
		}
		if others == nil {
			others = []string{"-"}
		}
		fmt.Fprintf(t, "%s\t%s\t%s\t%s\t%s\n", r.Network, id(r.ContainerID), cell(r.IfName), cell(joinAddrs(r.Addresses)), strings.Join(others, ", "))
	}
	return t.Flush()
}
