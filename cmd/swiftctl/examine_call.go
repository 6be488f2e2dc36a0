// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"os"
	"slices"

	"github.com/swiftcni/swiftcni/cni"
)

// Each live attachment that libcni's cache knows is given to the plugins' own CHECK, with the configuration that it was
// attached by. A finding of its network or of the host may explain already what they say.

// outsidePlugins look at the host alone, so that they work where the container's namespace can't be opened.
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
		return // nobody keeps one, or another version of libcni
	}
	plugins, err := pluginsOf(known.Config)
	if err != nil {
		return
	}
	_, err = os.Stat(known.netns())
	for _, p := range plugins {
		if slices.Contains(cni.PluginNames(), p.kind) && !delegates(p) && (err == nil || slices.Contains(outsidePlugins, p.kind)) {
			x.callCheck(ctx, h, known, p)
		}
	}
}

// delegates reports whether a plugin's CHECK runs another program. That may do more than look: dhcp's asks for the lease.
func delegates(p member) bool {
	var keys struct{ IPAM struct{ Type string } }
	return json.Unmarshal(p.text, &keys) == nil && !slices.Contains([]string{"", "host-local", "static"}, keys.IPAM.Type)
}

func (x *examination) callCheck(ctx context.Context, h *held, known *cached, p member) {
	conf, wants, err := known.call(p)
	if err != nil || !wants || p.kind == "firewall" && x.hasFirewalld() {
		return // firewalld's zones are judged by what they do
	}
	env := map[string]string{"CNI_COMMAND": "CHECK", "CNI_CONTAINERID": h.ContainerID, "CNI_IFNAME": h.IfName,
		"CNI_NETNS": known.netns(), "CNI_PATH": defaultIPAMPath}
	_, err = cni.Call(ctx, p.kind, func(name string) string { return env[name] }, bytes.NewReader(conf))
	var said *cni.Error
	switch {
	case err == nil, errors.As(err, &said) && said.Code == cni.CodeIncompatibleVersion:
		return // no CHECK at that version
	}
	remedy := "attach the container again"
	if slices.Contains(outsidePlugins, p.kind) {
		remedy = "swiftctl sync"
	}
	x.add("check", h.Network, h.who(), p.kind+" says: "+oneLine(err), remedy)
}
