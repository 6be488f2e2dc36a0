// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bytes"
	"context"
	"errors"
	"os"
	"path/filepath"
	"slices"

	"github.com/swiftcni/swiftcni/cni"
	"github.com/swiftcni/swiftcni/internal/facts"
)

// Each live attachment that libcni's cache knows is given to the plugins' own CHECK, with the
// configuration that it was attached by. A finding of its network or of the host may already
// explain an error of CHECK.

// outsidePlugins look only at the host. So they work even if the container's namespace can't be
// opened.
var outsidePlugins = []string{"portmap", "firewall"}

// explaining are the kinds of findings for which a CHECK fails as well.
var explaining = []string{"missing-rules", "missing-gateway", "bridge-down", "no-forwarding", "missing-jump", "missing-route", "dormant-table", "link-without-lease"}

func (x *examination) called(ctx context.Context, h *held) {
	explained := slices.ContainsFunc(x.found, func(f finding) bool {
		return slices.Contains(explaining, f.Kind) && (f.Network == "" || f.Network == h.Network && (f.Who == "" || f.Who == h.who()))
	})
	if explained || h.link.Index == 0 {
		return
	}
	known, err := readCache(x.cache, h)
	if err != nil {
		return // there is no cache, or it's another version of libcni's
	}
	if n, _ := cni.Parse(known.Config); n != nil { // the plugins that can be read report what is wrong
		x.callAll(ctx, h, known, facts.Of(n))
	}
}

// apart calls those plugins whose links the host doesn't see, such as macvlan's, for attachments
// that only the cache knows. Only the cache says that they live, if their namespace does.
func (x *examination) apart(ctx context.Context) {
	files, _ := filepath.Glob(filepath.Join(x.cache, "results", "*"))
	for _, path := range files {
		known, err := readCached(path)
		if err != nil || known.netns() == "" {
			continue
		}
		if _, err := os.Stat(known.netns()); err != nil {
			continue
		}
		n, _ := cni.Parse(known.Config)
		if n == nil || n.Name() != known.NetworkName {
			continue
		}
		plugins := facts.Of(n)
		if slices.ContainsFunc(plugins, func(p facts.Plugin) bool { return p.Name == "bridge" || p.Name == "ptp" }) {
			continue
		}
		x.callAll(ctx, &held{Network: known.NetworkName, ContainerID: known.ContainerID, IfName: known.IfName}, known, plugins)
	}
}

// callAll calls each plugin that only looks.
func (x *examination) callAll(ctx context.Context, h *held, known *cached, plugins []facts.Plugin) {
	_, err := os.Stat(known.netns())
	for _, p := range plugins {
		// If another program gives the addresses, CHECK runs that program, which may do more than
		// look: dhcp's asks for the lease. A chain is checked by its first plugin.
		if slices.Contains(cni.PluginNames(), p.Name) && !p.Delegates && !p.InChain && (err == nil || slices.Contains(outsidePlugins, p.Name)) {
			x.callCheck(ctx, h, known, p)
		}
	}
}

func (x *examination) callCheck(ctx context.Context, h *held, known *cached, p facts.Plugin) {
	conf, wants, err := known.call(p)
	if err != nil || !wants || p.Name == "firewall" && x.hasFirewalld() {
		return // firewalld's zones are judged by their effect
	}
	env := map[string]string{"CNI_COMMAND": "CHECK", "CNI_CONTAINERID": h.ContainerID, "CNI_IFNAME": h.IfName,
		"CNI_NETNS": known.netns(), "CNI_PATH": defaultIPAMPath}
	_, err = cni.Call(ctx, p.Name, func(name string) string { return env[name] }, bytes.NewReader(conf))
	var said *cni.Error
	switch {
	case err == nil, errors.As(err, &said) && said.Code == cni.CodeIncompatibleVersion:
		return // no CHECK at that version
	}
	remedy := "attach the container again"
	if slices.Contains(outsidePlugins, p.Name) {
		remedy = "swiftctl sync"
	}
	x.add("check", h.Network, h.who(), p.Name+" says: "+oneLine(err), remedy)
}
