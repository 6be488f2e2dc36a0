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

	"github.com/spf13/cobra"
	"github.com/swiftcni/swiftcni/ipam"
	"github.com/swiftcni/swiftcni/nft"
)

// defaultCacheDir is the directory in which libcni keeps its attachments (libcni.CacheDir).
const defaultCacheDir = "/var/lib/cni"

func newSync() *cobra.Command {
	var s syncing
	cmd := &cobra.Command{
		Use:   "sync [CONF...]",
		Short: "Restore rules that a firewall's flush took from the ruleset",
		Long: "Restore masquerade and spoof checks of live containers in the ruleset, from their links and the configurations,\n" +
			"in one transaction. Remove rules of containers that are gone. Rules that exist stay, so it may run at any time:\n" +
			"after a flush, or from a unit that follows the firewall's.\n\n" +
			"Only the runtime knows published ports and ways through the firewall. They are restored for containers that\n" +
			"libcni's cache knows. Other containers are named, and the exit status is then 1.\n\n" + confsHelp,
	}
	conf, dirs := confFlag(cmd), dataDirFlag(cmd)
	cache := cacheFlag(cmd)
	f := cmd.Flags()
	f.BoolVarP(&s.dry, "dry-run", "n", false, "only say what would be done")
	cmd.RunE = action(func(cmd *cobra.Command, args []string) error {
		confs, err := readConfs(args, *conf, cmd.Flags().Changed("conf-dir"))
		s.cache = *cache
		if confs = withCached(confs, s.cache); len(confs) == 0 && err == nil {
			return fmt.Errorf("no configuration in %s: name one", *conf)
		}
		s.out, s.confs = cmd.OutOrStdout(), confs
		return join(err, s.run(cmd.Context(), *dirs, cmd.Flags().Changed("data-dir")))
	})
	return cmd
}

// syncing is one call of sync.
type syncing struct {
	cache string
	dry   bool
	confs []*netconf
	out   io.Writer
	dirs  []string // of leases
	node  *node
	rules *nft.Conn

	rebuilt bool // the rules of port mappings
}

func (s *syncing) run(ctx context.Context, dirs []string, dirsNamed bool) (err error) {
	s.dirs = existing(dataDirs(dirs, s.confs), dirsNamed)
	if s.node, err = readNode(ctx, s.dirs); err != nil {
		return err // with half of the facts, live containers would look dead
	}
	if s.rules, err = nft.Dial(); err != nil {
		return err
	}
	defer s.rules.Close()
	s.node.know(s.confs)
	sweep := sweeping{dry: s.dry, dirs: s.dirs, node: s.node,
		done: func(h *held) { s.tell(h, s.verb("removed", "remove"), h.elements()) }}
	return join(s.wake(), s.detours(), s.routes(), s.restore(ctx), s.chained(ctx), sweep.run(ctx, func(*held) bool { return true }))
}

// cacheFlag gives a command the flag --cache-dir.
func cacheFlag(cmd *cobra.Command) *string {
	return cmd.Flags().String("cache-dir", defaultCacheDir, "`directory` of libcni's cache")
}

// wake wakes our tables that somebody has put to sleep, with all of their rules.
func (s *syncing) wake() error {
	filters, err := s.rules.Filters()
	if err != nil {
		return ifSupported(err)
	}
	for _, t := range filters.Dormant() {
		if !strings.HasSuffix(t, ourTable) {
			continue
		}
		if !s.dry {
			if err := s.rules.Wake(t); err != nil {
				return err
			}
		}
		fmt.Fprintf(s.out, "host: %s the table %s\n", s.verb("woke", "wake"), t)
	}
	return nil
}

// detours restores the way through iptables' tables, which is the host's.
func (s *syncing) detours() error {
	missing, err := s.rules.MissingDetours()
	if err != nil || len(missing) == 0 {
		return ifSupported(err)
	}
	if !s.dry {
		if err := s.rules.RestoreDetours(); err != nil {
			return err
		}
	}
	for _, what := range missing {
		fmt.Fprintf(s.out, "host: %s the %s\n", s.verb("restored", "restore"), what)
	}
	return nil
}

// verb is the verb in a line about a change.
func (s *syncing) verb(done, would string) string {
	if s.dry {
		return "would " + would
	}
	return done
}

func (s *syncing) tell(h *held, verb, what string) {
	fmt.Fprintf(s.out, "%s/%s: %s %s\n", h.Network, h.who(), verb, what)
}

// restore restores missing masquerade and spoof checks.
func (s *syncing) restore(ctx context.Context) error {
	var list []nft.Sender
	var of []*held
	for _, c := range s.confs {
		for _, h := range s.node.list {
			a, ok := c.attachment(s.node, h)
			if !ok {
				continue
			}
			err := s.rules.CheckSender(a)
			if errors.Is(err, fs.ErrNotExist) {
				list, of = append(list, a), append(of, h)
			} else if err != nil {
				return err
			}
		}
	}
	if !s.dry {
		var err error
		if list, of, err = s.restoreLive(ctx, list, of); err != nil {
			return err
		}
	}
	for i, h := range of {
		var what []string
		if m := list[i].Masquerade; m != nil {
			what = append(what, "masquerade of "+joinPrefixes(m))
		}
		if g := list[i].Guard; g != nil {
			what = append(what, "spoof check of "+g.HostLink)
		}
		s.tell(h, s.verb("restored", "restore"), strings.Join(what, ", "))
	}
	return nil
}

// restoreLive restores what attachments lack, and returns those that still are as they were when they
// were read. The others have ended since, and somebody else may have their addresses. Their networks'
// leases are locked, so that nobody comes or goes meanwhile.
func (s *syncing) restoreLive(ctx context.Context, list []nft.Sender, of []*held) (still []nft.Sender, live []*held, err error) {
	if len(list) == 0 {
		return nil, nil, s.rules.Tidy()
	}
	networks := make([]string, len(of))
	for i, h := range of {
		networks[i] = h.Network
	}
	slices.Sort(networks) // as others of this kind lock them
	for _, network := range slices.Compact(networks) {
		for _, dir := range s.dirs {
			store, openErr := ipam.OpenExisting(ctx, dir, network)
			if errors.Is(openErr, fs.ErrNotExist) {
				continue
			}
			if openErr != nil {
				return nil, nil, openErr
			}
			defer func() { err = join(err, store.Close()) }()
		}
	}
	now, err := readLinks()
	if err != nil {
		return nil, nil, err
	}
	defer now.close()
	for i, h := range of {
		l := now.veths[h.link.Index]
		if l.Name == h.link.Name && l.Alias == h.link.Alias && samePrefixes(now.addrs(l), s.node.links.addrs(h.link)) {
			still, live = append(still, list[i]), append(live, h)
		}
	}
	return still, live, s.rules.Restore(still)
}

// samePrefixes compares two lists in any order.
func samePrefixes(p, q []netip.Prefix) bool {
	return len(p) == len(q) && !slices.ContainsFunc(p, func(x netip.Prefix) bool { return !slices.Contains(q, x) })
}

// attachment is the part of the ruleset that a live owner on the configuration's network should
// have. ok reports whether there is any.
func (c *netconf) attachment(n *node, h *held) (a nft.Sender, ok bool) {
	if h.Network != c.network.Name() || h.link.Index == 0 {
		return a, false
	}
	a.Owner, a.Outbound = h.owner(), c.main.Outbound
	for _, p := range n.links.addrs(h.link) {
		// Addresses that the container added itself aren't ours.
		masq := c.main.Masquerade6
		if p.Addr().Is4() {
			masq = c.main.Masquerade
		}
		if masq && slices.Contains(h.Addresses, p.Addr()) {
			a.Masquerade = append(a.Masquerade, p)
		}
	}
	slices.SortFunc(a.Masquerade, func(p, q netip.Prefix) int { return p.Addr().Compare(q.Addr()) })
	if c.main.SpoofCheck {
		if mac := n.links.peerMACs[h.link.Index]; mac != nil {
			a.Guard = &nft.Guard{HostLink: h.link.Name, MAC: mac}
		}
	}
	return a, a.Masquerade != nil || a.Guard != nil
}
