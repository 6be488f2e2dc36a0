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
	var dry bool
	cmd := &cobra.Command{
		Use:   "adopt [CONF...]",
		Short: "Look at what the CNI project's plugins left on a node, and take its leases over",
		Long: "Show which live containers the CNI project's bridge and host-local attached: their leases, links and rules,\n" +
			"those of iptables by their form in nftables. Nothing needs to be restarted: once this program's plugins are\n" +
			"in the plugin directory (swiftctl install --force), CHECK, DEL and GC serve these containers as their own,\n" +
			"and take all of it away; new ones are attached beside them. The way back is to put the old plugins back.\n\n" +
			"Without --dry-run the leases are indexed, which the next ADD would do otherwise. Nothing else is changed.\n" +
			"What belongs to no container that holds a lease is listed last, with what removes it; the exit status is\n" +
			"then 1. Chains that the CNI project's plugins made by iptables-legacy are listed apart, with their containers:\n" +
			"neither DEL nor GC removes them, and a port's goes on to lead to whoever gets the container's address.\n\n" + confsHelp,
	}
	conf, dirs := confFlag(cmd), dataDirFlag(cmd)
	cmd.Flags().BoolVarP(&dry, "dry-run", "n", false, "look only")
	cmd.RunE = action(func(cmd *cobra.Command, args []string) error {
		confs, err := readConfs(args, *conf, cmd.Flags().Changed("conf-dir"))
		from := existing(dataDirs(*dirs, confs), cmd.Flags().Changed("data-dir"))
		if !dry {
			err = join(err, index(from))
		}
		return join(err, adopt(cmd.OutOrStdout(), from))
	})
	return cmd
}

// adoptee is a container that the reference attached.
type adoptee struct {
	*held
	link rtnl.Link // the host end, by its other end's addresses; its Index is 0 where there's none
	left []nft.Leftover
}

// adopt tells what the reference attached, and what it left of others. Its error says that there's something of those.
func adopt(w io.Writer, dirs []string) error {
	n, err := readNode(dirs)
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
		if h.record.Boot == "" { // ours leave evidence
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

// printLegacy tells of what nothing but its command removes. Those of nobody are an error.
func printLegacy(w io.Writer, list []legacyChain) error {
	if len(list) == 0 {
		return nil
	}
	fmt.Fprintln(w, "\nof iptables-legacy, which neither DEL nor GC removes; a port's leads to whoever has the container's address next:")
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

// leftTo returns the container that a leftover is of, nil if none of these.
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

// needs reports whether somebody may still need a leftover whose owner it doesn't tell: a bridge's policy if the bridge has a port
// that isn't ours, and a way through the firewall if a container has the address.
func (n *node) needs(l nft.Leftover) bool {
	if l.Addr.IsValid() {
		return n.links.withAny([]netip.Addr{l.Addr}).Index != 0
	}
	for _, veth := range n.links.veths {
		if _, ours := names.OwnerOf(veth); l.Bridge != "" && n.links.names[veth.Master] == l.Bridge && !ours {
			return true
		}
	}
	return false
}

// withAny returns the veth whose other end has any of some addresses.
func (l *links) withAny(addrs []netip.Addr) rtnl.Link {
	for i, prefixes := range l.peers {
		if slices.ContainsFunc(prefixes, func(p netip.Prefix) bool { return slices.Contains(addrs, p.Addr()) }) {
			return l.veths[i]
		}
	}
	return rtnl.Link{}
}

func printAdoptees(w io.Writer, list []*adoptee) error {
	if len(list) == 0 {
		_, err := fmt.Fprintln(w, "no lease is of the CNI project's host-local")
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

// rules says what kinds of rules a container has, each once.
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

// printStrange tells of rules that belong to nobody who holds a lease.
func printStrange(w io.Writer, list []nft.Leftover) error {
	if len(list) == 0 {
		return nil
	}
	fmt.Fprintln(w, "\nof no container with a lease here:")
	for i, l := range list {
		if i > 0 && l == list[i-1] { // the rules of a container's addresses are alike
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

// removal is what takes a leftover away.
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

// index makes the store know its leases.
func index(dirs []string) (err error) {
	for _, dir := range dirs {
		names, dirErr := networksIn(dir)
		err = join(err, dirErr)
		for _, name := range names {
			store, openErr := ipam.OpenExisting(context.Background(), dir, name)
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
