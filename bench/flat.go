// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"encoding/json"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"github.com/swiftcni/swiftcni/ipam"
)

// The things that fill a node.
const (
	fillAttachments = "attachments" // on the bridge: made by each contestant itself
	fillLeases      = "leases"      // in the store, of attachments that aren't there
	fillRules       = "rules"       // of others, in nftables
	fillLinks       = "links"       // on the host, with as many namespaces elsewhere
	fillMounts      = "mounts"      // in the caller's mount table
)

// fills are the axes. The attachments' namespaces end when their box does. That keeps the kernel
// busy for a while, so they come last.
func fills() []axis {
	return []axis{
		{fillLeases, []int{0, 1000, 10000, 60000}, []int{0, 500}},
		{fillRules, []int{0, 1000, 10000, 60000}, []int{0, 500}},
		{fillLinks, []int{0, 500, 1000, 5000}, []int{0, 50}},
		{fillMounts, []int{0, 500, 1000, 5000}, []int{0, 50}},
		{fillAttachments, []int{0, 100, 500, 1000}, []int{0, 20}},
	}
}

// flat measures ADD and DEL while the node fills up.
func (m *measurer) flat() error {
	return m.atLevels(func(level int) error { return m.rounds(level, level == 0) })
}

// atLevels measures at each level of the axis, once the node is filled to that level.
func (m *measurer) atLevels(measure func(level int) error) error {
	filled := 0
	for _, level := range m.Levels {
		started := time.Now()
		if err := m.fill(filled, level); err != nil {
			return fmt.Errorf("fill with %d %s: %w", level, m.Axis, err)
		}
		if m.Axis == fillAttachments {
			// New links announce themselves to their neighbours for some seconds. A full node isn't
			// like that.
			time.Sleep(min(time.Duration(level-filled)*10*time.Millisecond, 10*time.Second))
		}
		filled = level
		m.progress.pause(started)
		if err := measure(level); err != nil {
			return err
		}
	}
	return nil
}

// fill fills the axis from one number to another.
func (m *measurer) fill(from, to int) error {
	switch m.Axis {
	case fillMounts:
		return fillWithMounts(from, to)
	case fillLinks:
		for range to - from {
			if err := keepNamespace(); err != nil {
				return err
			}
		}
	}
	for _, c := range m.Contestants {
		if !c.Attaches || to == from {
			continue
		}
		var err error
		switch m.Axis {
		case fillAttachments:
			err = m.fillWithAttachments(c, to-from)
		case fillLeases:
			err = m.fillWithLeases(c, from, to)
		case fillRules:
			err = m.fillWithRules(c, from, to)
		case fillLinks:
			err = m.fillWithLinks(c, from, to)
		}
		if err != nil {
			return fmt.Errorf("%s: %w", c.Name, err)
		}
	}
	return nil
}

func fillWithMounts(from, to int) error {
	for i := from; i < to; i++ {
		dir := fmt.Sprintf("/run/mounts/%d", i)
		if err := os.MkdirAll(dir, 0o755); err != nil {
			return err
		}
		if err := unix.Mount(dir, dir, "", unix.MS_BIND, ""); err != nil {
			return fmt.Errorf("bind %s: %w", dir, err)
		}
	}
	return nil
}

// keepNamespace makes a network namespace that lives as long as this process. It has no name, since
// that would be a mount.
func keepNamespace() error {
	if err := unix.Unshare(unix.CLONE_NEWNET); err != nil {
		return err
	}
	_, err := unix.Open("/proc/thread-self/ns/net", unix.O_RDONLY|unix.O_CLOEXEC, 0)
	return err
}

func (m *measurer) fillWithAttachments(c Contestant, n int) error {
	for range n {
		at, err := m.newContainer(c)
		if err != nil {
			return err
		}
		p, err := newProcess(c, at, verbAdd)
		if err != nil {
			return err
		}
		if _, err := p.run(m.Launcher); err != nil {
			return err
		}
	}
	return nil
}

// fillWithLeases writes leases as their owner would: swiftcni's with records, the floor's with its
// links from owner to address, the reference's as plain files.
func (m *measurer) fillWithLeases(c Contestant, from, to int) error {
	if c.Leases == "" {
		return fmt.Errorf("no lease store is known")
	}
	if err := os.MkdirAll(c.Leases, 0o755); err != nil {
		return err
	}
	if filepath.Base(c.Plugin) == "bridge" && strings.Contains(c.Plugin, swiftcni) {
		return fillStore(c, from, to)
	}
	address := netip.MustParsePrefix(c.Subnet).Addr().Next()
	for i := range to {
		address = address.Next()
		if i < from {
			continue
		}
		owner := fmt.Sprintf("filled-%d", i)
		lease := filepath.Join(c.Leases, address.String())
		if err := os.WriteFile(lease, []byte(owner+"\r\neth0"), 0o600); err != nil {
			return err
		}
		if c.Name == floor {
			if err := os.Symlink(address.String(), filepath.Join(c.Leases, owner+"-eth0")); err != nil {
				return err
			}
		}
	}
	return os.WriteFile(filepath.Join(c.Leases, "last_reserved_ip.0"), []byte(address.String()), 0o600)
}

// fillStore reserves through package ipam, as attachments of this boot on this host.
func fillStore(c Contestant, from, to int) error {
	var config struct {
		Name string
		IPAM struct{ DataDir string }
	}
	if err := json.Unmarshal([]byte(c.Config), &config); err != nil {
		return err
	}
	sets, err := ipam.CanonicalSets([]ipam.RangeSet{{{Subnet: netip.MustParsePrefix(c.Subnet)}}})
	if err != nil {
		return err
	}
	boot, err := os.ReadFile("/proc/sys/kernel/random/boot_id")
	if err != nil {
		return err
	}
	store, err := ipam.Open(context.Background(), config.IPAM.DataDir, config.Name)
	if err != nil {
		return err
	}
	for i := from; i < to && err == nil; i++ {
		owner := ipam.Owner{ContainerID: fmt.Sprintf("filled-%d", i), IfName: "eth0"}
		_, err = store.Reserve(ipam.Request{Owner: owner, Sets: sets, Record: ipam.Record{
			Owner: owner, Boot: strings.TrimSpace(string(boot)), NetNS: 1, Link: fmt.Sprintf("sw%010d", i), Index: 1<<20 + i,
		}})
	}
	if closing := store.Close(); err == nil {
		err = closing
	}
	return err
}

// fillWithRules adds rules of another owner, which no packet passes.
func (m *measurer) fillWithRules(c Contestant, from, to int) error {
	var text strings.Builder
	text.WriteString("table ip foreign {\n\tchain rules {\n")
	for i := from; i < to; i++ {
		fmt.Fprintf(&text, "\t\tip saddr 10.%d.%d.%d counter accept\n", i>>16, i>>8&255, i&255)
	}
	text.WriteString("\t}\n}\n")
	file := "/run/foreign.nft"
	if err := os.WriteFile(file, []byte(text.String()), 0o600); err != nil {
		return err
	}
	return m.shell(c, "nft -f "+file)
}

// fillWithLinks adds veth pairs, each of which is two links.
func (m *measurer) fillWithLinks(c Contestant, from, to int) error {
	var text strings.Builder
	for i := from; i < to; i += 2 {
		fmt.Fprintf(&text, "link add fill%d numtxqueues 1 numrxqueues 1 type veth peer name fill%d numtxqueues 1 numrxqueues 1\n", i, i+1)
	}
	file := "/run/links.ip"
	if err := os.WriteFile(file, []byte(text.String()), 0o600); err != nil {
		return err
	}
	return m.shell(c, "ip -batch "+file)
}

func (r *Report) showFlat() section {
	s := section{title: "ADD and DEL on a full node", text: "Medians in ms, with 95 % confidence. The fill grows from left to right; " +
		"attachments are made by each contestant itself, and the empty programs tell what the fill costs a process that does nothing."}
	list := r.of("flat")
	for _, axis := range distinct(list, func(s *Series) string { return s.Axis }) {
		var chosen []*Series
		for _, each := range list {
			if each.Axis == axis {
				chosen = append(chosen, each)
			}
		}
		s.tables = append(s.tables, levelTable(axis, chosen, func(s *Series) string { return s.median().millis() }))
		// The floor's DEL waits until the kernel has freed the link. Its line would flatten all
		// others.
		shown := slices.DeleteFunc(slices.Clone(chosen), func(s *Series) bool { return s.Contestant == floor && s.Verb == verbDel })
		s.plots = append(s.plots, levelPlot("Cost by "+axis+" (the floor's DEL is in the table)", axis, "ms, p50", shown, false, func(s *Series) Estimate { return s.median().scale(1e-3) }))
	}
	return s
}
