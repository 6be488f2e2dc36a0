// SPDX-License-Identifier: Apache-2.0

package main

import (
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
	"github.com/swiftcni/swiftcni/internal/names"
	"github.com/swiftcni/swiftcni/ipam"
	"github.com/swiftcni/swiftcni/nft"
	"github.com/swiftcni/swiftcni/rtnl"
)

func newAdopt() *cobra.Command {
	var dry, back bool
	cmd := &cobra.Command{
		Use:   "adopt [CONF...]",
		Short: "Show the remains of the CNI project's plugins on a node, and take its leases over",
		Long: "Show the live containers that the CNI project's bridge and host-local attached: their leases, links and rules,\n" +
			"also those of iptables, by their form in nftables. Nothing needs to be restarted. Once this program's plugins are\n" +
			"in the plugin directory (swiftctl install --force), CHECK, DEL and GC treat these containers as their own, and\n" +
			"remove everything of them. New containers are attached beside them. The way back is to restore the old plugins.\n\n" +
			"Without --dry-run the leases are indexed. The next ADD would do that otherwise. Nothing else is changed.\n" +
			"Rules that belong to no container with a lease are listed last, with the commands that remove them. The exit\n" +
			"status is then 1. Chains that the CNI project's plugins made by iptables-legacy are listed apart, with their\n" +
			"containers. Neither DEL nor GC removes them, and the chain of a port leads to the next holder of the address.\n\n" +
			"--back changes nothing and looks the other way: it names the keys of configurations that the CNI project's plugins\n" +
			"don't have, and what is lost without them. The exit status is 1 if there are any.\n\n" + confsHelp,
	}
	conf, dirs := confFlag(cmd), dataDirFlag(cmd)
	cmd.Flags().BoolVarP(&dry, "dry-run", "n", false, "look only")
	cmd.Flags().BoolVar(&back, "back", false, "name the keys that the CNI project's plugins don't have")
	cmd.RunE = action(func(cmd *cobra.Command, args []string) error {
		confs, err := readConfs(args, *conf, cmd.Flags().Changed("conf-dir"))
		if back {
			return join(err, wayBack(cmd.OutOrStdout(), confs))
		}
		from := existing(dataDirs(*dirs, confs), cmd.Flags().Changed("data-dir"))
		if !dry {
			err = join(err, index(cmd.Context(), from))
		}
		return join(err, adopt(cmd.Context(), cmd.OutOrStdout(), from))
	})
	return cmd
}

// adoptee is a container that the reference attached.
type adoptee struct {
	*held
	link rtnl.LinkState // the host end, found by its peer's addresses; Index 0 is none
	left []nft.Leftover
}

// adopt prints the containers that the reference attached, and its leftovers that are nobody's. It
// returns an error if there are any of the latter.
func adopt(ctx context.Context, w io.Writer, dirs []string) error {
	n, err := readNode(ctx, dirs)
	if err != nil {
		return err
	}
	var owners []nft.Owner
	var list []*adoptee
	for _, h := range n.list {
		if !h.leased {
			continue
		}
		owners = append(owners, h.owner())
		if h.record.Boot == "" { // our own records have evidence
			list = append(list, &adoptee{held: h, link: n.links.withAny(h.Addresses)})
		}
	}
	conn, err := nft.Dial()
	if err != nil {
		return err
	}
	defer conn.Close()
	var strange []nft.Leftover
	for l, err := range conn.Leftovers(owners) {
		if err != nil {
			if err = ifSupported(err); err != nil {
				return err
			}
			break
		}
		if of := n.leftTo(l, list); of != nil {
			of.left = append(of.left, l)
		} else if !n.needs(l) {
			strange = append(strange, l)
		}
	}
	if err := printAdoptees(w, list); err != nil {
		return err
	}
	legacy, legacyErr := legacyChains(owners)
	return join(legacyErr, printLegacy(w, legacy), printStrange(w, strange))
}

// printLegacy prints the chains that only their own commands remove. If some belong to nobody, that
// is an error.
func printLegacy(w io.Writer, list []legacyChain) error {
	if len(list) == 0 {
		return nil
	}
	fmt.Fprintln(w, "\nchains of iptables-legacy, which neither DEL nor GC removes; the chain of a port leads to the next holder of the address:")
	for _, l := range list {
		of := "no container with a lease here"
		if o := l.owner; o != (nft.Owner{}) {
			of = cell(o.Network) + "/" + cell(o.ContainerID) + "/" + cell(o.IfName) + ", so once it's gone"
		}
		fmt.Fprintf(w, "  %s\n      of %s\n      removed by: %s\n", l, of, l.removal())
	}
	if n := len(ofNobody(list)); n > 0 {
		return errStrange(n)
	}
	return nil
}

// leftTo returns the container that a leftover belongs to, or nil if it's none of these.
func (n *node) leftTo(l nft.Leftover, list []*adoptee) *adoptee {
	i := slices.IndexFunc(list, func(a *adoptee) bool {
		switch {
		case l.Bridge != "":
			return n.links.names[a.link.Master] == l.Bridge
		case l.Addr.IsValid():
			return slices.Contains(a.Addresses, l.Addr)
		}
		return a.owner() == l.Owner
	})
	if i < 0 {
		return nil
	}
	return list[i]
}

// needs reports whether a container may still need a leftover of an unknown owner. It may need a
// bridge's policy if the bridge has a port that isn't ours. It may need a way through the firewall
// if it has the address.
func (n *node) needs(l nft.Leftover) bool {
	if l.Addr.IsValid() {
		return n.links.withAny([]netip.Addr{l.Addr}).Index != 0
	}
	for _, veth := range n.links.veths {
		if _, ours := names.OwnerOf(veth.Link); l.Bridge != "" && n.links.names[veth.Master] == l.Bridge && !ours {
			return true
		}
	}
	return false
}

// withAny returns the veth whose other end has any of some addresses.
func (l *links) withAny(addrs []netip.Addr) rtnl.LinkState {
	for i, prefixes := range l.peers {
		if slices.ContainsFunc(prefixes, func(p netip.Prefix) bool { return slices.Contains(addrs, p.Addr()) }) {
			return l.veths[i]
		}
	}
	return rtnl.LinkState{}
}

func printAdoptees(w io.Writer, list []*adoptee) error {
	if len(list) == 0 {
		_, err := fmt.Fprintln(w, "no lease was made by the CNI project's host-local")
		return err
	}
	return fit(w, func(w io.Writer, id func(string) string) error { return adopteesTable(w, list, id) })
}

func adopteesTable(w io.Writer, list []*adoptee, id func(string) string) error {
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprintln(t, "NETWORK\tCONTAINER\tIFNAME\tADDRESSES\tLINK\tRULES")
	for _, a := range list {
		fmt.Fprintf(t, "%s\t%s\t%s\t%s\t%s\t%s\n", a.Network, id(a.ContainerID), cell(a.IfName), cell(joinAddrs(a.Addresses)), cell(a.link.Name), a.rules())
	}
	return t.Flush()
}

// rules lists the kinds of rules that a container has, each once.
func (a *adoptee) rules() string {
	var kinds []string
	for _, l := range a.left {
		by := "nftables"
		if l.IPTables {
			by = "iptables"
		}
		if kind := string(l.Kind) + " (" + by + ")"; !slices.Contains(kinds, kind) {
			kinds = append(kinds, kind)
		}
	}
	if kinds == nil {
		return "-"
	}
	return strings.Join(kinds, ", ")
}

// printStrange prints rules that belong to no container with a lease.
func printStrange(w io.Writer, list []nft.Leftover) error {
	if len(list) == 0 {
		return nil
	}
	fmt.Fprintln(w, "\nrules of no container with a lease here:")
	for i, l := range list {
		if i > 0 && l == list[i-1] { // the rules of a container's addresses are the same
			continue
		}
		fmt.Fprintf(w, "  %s: %s\n", l.Kind, l.Where)
		for _, of := range []string{l.Text, l.Bridge} {
			if of != "" {
				fmt.Fprintf(w, "      of %s\n", cell(of))
			}
		}
		if l.Addr.IsValid() {
			fmt.Fprintf(w, "      for %s\n", l.Addr)
		}
		fmt.Fprintf(w, "      removed by: %s\n", removal(l))
	}
	return errStrange(len(list))
}

// errStrange makes the exit status 1.
type errStrange int

func (e errStrange) Error() string {
	if e == 1 {
		return "1 rule or chain belongs to no container with a lease here"
	}
	return fmt.Sprintf("%d rules or chains belong to no container with a lease here", int(e))
}

// removal is the command that removes a leftover.
func removal(l nft.Leftover) string {
	f := strings.Fields(l.Where)
	name := f[len(f)-1]
	switch {
	case l.IPTables:
		table, lines := "nat", name
		switch {
		case l.Bridge != "":
			table, lines = "filter", "'CNI-ISOLATION-STAGE.* -[io] "+l.Bridge+" '"
		case l.Addr.IsValid():
			table, lines = "filter", "'"+name+" -[sd] "+l.Addr.String()+"/'"
		}
		programs := "iptables"
		if strings.Contains(l.Where, " ip6 ") {
			programs = "ip6tables"
		}
		return programs + "-save -t " + table + " | grep -v " + lines + " | " + programs + "-restore"
	case l.Kind == nft.LeftoverSpoofCheck:
		id := strings.TrimPrefix(name, "cni-br-iface-")
		if i := strings.LastIndexByte(id, '-'); i > 0 {
			return "swiftctl detach --id " + id[:i] + " --ifname " + id[i+1:] + " CONF"
		}
	case l.Kind == nft.LeftoverMasquerade:
		if _, ifName, ok := strings.Cut(l.Text, ", if: "); ok {
			ifName, id, _ := strings.Cut(ifName, ", id: ")
			return "swiftctl detach --id " + id + " --ifname " + ifName + " CONF"
		}
	}
	table := strings.Join(f[2:len(f)-1], " ")
	return "nft -a list chain " + table + " " + name + " | grep '" + l.Text + "', and for each: nft delete rule " + table + " " + name + " handle HANDLE"
}

// index adds the leases to the store's index.
func index(ctx context.Context, dirs []string) (err error) {
	for _, dir := range dirs {
		names, dirErr := networksIn(dir)
		err = join(err, dirErr)
		for _, name := range names {
			store, openErr := ipam.OpenExisting(ctx, dir, name)
			if errors.Is(openErr, fs.ErrNotExist) {
				continue
			}
			if openErr != nil {
				err = join(err, openErr)
				continue
			}
			if checkErr := store.Check(); checkErr != nil {
				err = join(err, inDir(dir, name, checkErr))
			}
			err = join(err, store.Close())
		}
	}
	return err
}
