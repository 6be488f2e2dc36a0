// SPDX-License-Identifier: Apache-2.0

package main

import (
	"encoding/json"
	"fmt"
	"maps"
	"net/netip"
	"os"
	"path/filepath"
	"time"
)

// These are networks whose bridge other plugins follow, in its key chain or in a list.

const (
	tuningDir = "/run/tuning" // of the attributes that tuning saves
	confDir   = "/run/confs"  // of the networks' configurations
	tunedMTU  = 1400
)

// follow puts plugins behind a network's bridge: in its key chain, or else each as a program of its
// own.
func (n *network) follow(chained bool, types ...string) {
	var list []map[string]any
	for _, t := range types {
		conf := map[string]any{"type": t}
		switch t {
		case "portmap":
			n.publishes = true
			conf["capabilities"] = map[string]bool{"portMappings": true}
		case "firewall":
			n.opens = true
			conf["ingressPolicy"] = map[bool]string{true: "same-bridge", false: "isolated"}[chained]
		case "bandwidth":
			n.limits = true
			for _, way := range []string{"ingress", "egress"} {
				conf[way+"Rate"], conf[way+"Burst"] = 100_000_000, 1_000_000
			}
		case "tuning":
			n.tunes = true
			conf["dataDir"], conf["mtu"] = tuningDir, tunedMTU
		}
		list = append(list, conf)
	}
	n.conf["capabilities"] = map[string]bool{"ips": n.static, "portMappings": chained && n.publishes}
	if chained {
		n.conf["chain"] = list
		n.chained = true
		return
	}
	for _, conf := range list {
		conf["cniVersion"], conf["name"] = n.conf["cniVersion"], n.name
	}
	n.followers = list
}

// fixed gives each container of a network an address of its own, which its runtime tells.
func (n *network) fixed(subnet netip.Prefix) {
	n.static, n.subnets = true, []netip.Prefix{subnet}
	n.conf["isGateway"] = true
	n.conf["ipam"] = map[string]any{"type": "static", "routes": []map[string]string{{"dst": "192.0.2.0/24"}}}
}

// fixedAddress is a slot's.
func (n *network) fixedAddress(s *slot) netip.Prefix {
	b := n.subnets[0].Addr().As4()
	b[2], b[3] = byte(1+s.number/250), byte(1+s.number%250)
	return netip.PrefixFrom(netip.AddrFrom4(b), n.subnets[0].Bits())
}

// plugins are the configurations of the network's plugins, in their order.
func (n *network) plugins() []map[string]any { return append([]map[string]any{n.conf}, n.followers...) }

// input is a plugin's standard input.
func (n *network) input(plugin map[string]any, a *attachment, prev json.RawMessage, valid []validAttachment) []byte {
	c := maps.Clone(plugin)
	if a != nil && (n.static || n.publishes) {
		told := map[string]any{}
		if n.static {
			told["ips"] = []string{n.fixedAddress(a.slot).String()}
		}
		if n.publishes {
			told["portMappings"] = a.slot.ports()
		}
		c["runtimeConfig"] = told
	}
	if prev != nil {
		c["prevResult"] = prev
	}
	if valid != nil {
		c["cni.dev/valid-attachments"] = valid
	}
	return encode(c)
}

// perform runs a verb of all the network's plugins as a runtime does: in their order, DEL in the
// reverse order, until one fails. GC goes on after a failure. A kill, or what happens meanwhile,
// hits one of them. The outcome is the first failure's, or the last plugin's.
func (r *runner) perform(n *network, a *attachment, c call, prev json.RawMessage, valid []validAttachment) (all *outcome, err error) {
	list := n.plugins()
	kill, meanwhile := c.kill, c.meanwhile
	var took time.Duration
	for i := range list {
		at := i
		if c.verb == "DEL" {
			at = len(list) - 1 - i
		}
		c.kill, c.meanwhile = 0, nil
		if i == c.victim%len(list) {
			c.kill, c.meanwhile = kill, meanwhile
		}
		c.program = filepath.Join(r.plan.Plugins, list[at]["type"].(string))
		c.config = n.input(list[at], a, prev, valid)
		out, err := r.call(&c)
		if err != nil {
			return nil, err
		}
		took += out.took
		if out.step = at; all == nil || all.exit == 0 {
			all = out
		}
		all.took = took
		if out.killed || out.hung || out.exit != 0 && c.verb != "GC" {
			return out, nil
		}
		if c.verb == "ADD" {
			prev = out.stdout
		}
	}
	return all, nil
}

// aPort is one of runtimeConfig.portMappings.
type aPort struct {
	HostPort      uint16 `json:"hostPort"`
	ContainerPort uint16 `json:"containerPort"`
	Protocol      string `json:"protocol"`
}

// ports are a container's. Half of all slots have a rival, which asks for the same port.
func (s *slot) ports() []aPort {
	shared := s.number
	if s.number%4 == 1 {
		shared--
	}
	return []aPort{{uint16(8000 + shared), 80, "tcp"}, {uint16(8000 + s.number), 53, "udp"}}
}

// rivalsWith are the attachments that ask for the same port.
func (m *model) rivalsWith(a *attachment) (list []*attachment) {
	number := a.slot.number ^ 1
	if !a.net.publishes || a.slot.number%4 > 1 || number >= len(m.slots) {
		return nil
	}
	for _, b := range m.slots[number].attachments {
		if b.net.publishes {
			list = append(list, b)
		}
	}
	return list
}

// A rival is the knowledge of an attachment that may have another's port.
type rival struct {
	generation int
	has, may   bool
}

// rivalry notes what the rivals have.
func (m *model) rivalry(a *attachment) map[*attachment]rival {
	list := map[*attachment]rival{}
	for _, b := range m.rivalsWith(a) {
		list[b] = rival{
			generation: b.generation,
			has:        b.state == live && b.faults()&(deadly|faultRules) == 0 && !b.busy,
			may:        b.busy || b.state == uncertain || b.state == live && b.broken&faultLink == 0,
		}
	}
	return list
}

// portTaken reports whether a port of an attachment has certainly been a rival's since a moment, and
// whether it may have been.
func (m *model) portTaken(a *attachment, since moment) (surely, maybe bool) {
	for b, now := range m.rivalry(a) {
		was := since.rivals[b]
		same := was.generation == now.generation
		surely = surely || same && was.has && now.has
		maybe = maybe || !same || was.may || now.may
	}
	return surely, maybe
}

// writeConfs writes the networks' configurations for swiftctl.
func writeConfs(networks []*network) error {
	if err := os.MkdirAll(confDir, 0o755); err != nil {
		return err
	}
	for _, n := range networks {
		list := map[string]any{"cniVersion": n.conf["cniVersion"], "name": n.name, "plugins": n.plugins()}
		if err := os.WriteFile(fmt.Sprintf("%s/%s.conflist", confDir, n.name), encode(list), 0o600); err != nil {
			return err
		}
	}
	return nil
}
