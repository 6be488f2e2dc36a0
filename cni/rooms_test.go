// SPDX-License-Identifier: Apache-2.0

package cni

import (
	"context"
	"testing"

	"github.com/swiftcni/swiftcni/internal/bandwidth"
	"github.com/swiftcni/swiftcni/internal/firewall"
	"github.com/swiftcni/swiftcni/internal/netconf"
	"github.com/swiftcni/swiftcni/internal/portmap"
	"github.com/swiftcni/swiftcni/internal/roster"
	"github.com/swiftcni/swiftcni/internal/sbr"
	"github.com/swiftcni/swiftcni/internal/tuning"
	"github.com/swiftcni/swiftcni/internal/verbs"
	"github.com/swiftcni/swiftcni/internal/veth"
)

// parse reads a configuration for whatever plugin is named, if any, and finds what is wrong with
// the keys that most share.
func parse(text []byte) (*Network, error) {
	n, err := readFor(text, nil)
	if err != nil {
		return nil, err
	}
	if wrong := n.conf.Wrong(netconf.OfEach | netconf.OfMain | netconf.OfMAC | netconf.OfIPAM | netconf.OfGC); wrong != nil {
		return n, wrong
	}
	return n, nil
}

// with is a network like another whose configuration was changed.
func (n *Network) with(change func(*netconf.Network)) *Network {
	conf := *n.conf
	change(&conf)
	return newNetwork(&conf, n.served)
}

// A reader makes plugins of networks whatever their type says.
type reader func(*netconf.Network) verbs.Plugin

func (read reader) of(n *Network) verbs.Plugin { return read(n.conf) }

func (read reader) add(ctx context.Context, n *Network, a Attachment) (*Result, error) {
	return read.of(n).Add(ctx, &n.told, a)
}

func (read reader) del(ctx context.Context, n *Network, a Attachment) error {
	return read.of(n).Del(ctx, &n.told, a)
}

func (read reader) check(ctx context.Context, n *Network, a Attachment, prev *Result) error {
	c := n.told
	if prev != nil {
		c.Prev = prev
	}
	return read.of(n).Check(ctx, &c, a)
}

func (read reader) gc(ctx context.Context, n *Network, valid []Attachment) error {
	return read.of(n).GC(ctx, &n.told, valid)
}

func (read reader) reclaim(ctx context.Context, n *Network) error {
	return read.of(n).Reclaim(ctx, &n.told)
}

func (read reader) status(ctx context.Context, n *Network) error {
	return read.of(n).Status(ctx, &n.told)
}

var (
	bandwidthRoom = reader(bandwidth.Read)
	firewallRoom  = reader(firewall.Read)
	portmapRoom   = reader(portmap.Read)
	ptpRoom       = reader(veth.ReadPtP)
	sbrRoom       = reader(sbr.Read)
	tuningRoom    = reader(tuning.Read)
)

// The table and the roster name the same plugins, in one order.
func TestTableIsTheRoster(t *testing.T) {
	names := roster.Names()
	if len(names) != len(plugins) {
		t.Fatalf("%d names of %d plugins", len(names), len(plugins))
	}
	for i, name := range names {
		if p := findPlugin(name); p != &plugins[i] || !roster.Has(name) {
			t.Errorf("%s is %+v", name, p)
		}
	}
}
