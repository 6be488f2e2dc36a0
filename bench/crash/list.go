// SPDX-License-Identifier: Apache-2.0

package main

import (
	"encoding/json"
	"fmt"
	"hash/crc32"
	"path/filepath"
	"slices"
	"strings"
)

// Member is one plugin of a list.
type Member struct {
	// Path is the executable's. Its directory is CNI_PATH.
	Path string
	// Config is its input, without the keys that a runtime adds.
	Config string
	// Driver says that it's called as netavark calls a driver. Config is then the network.
	Driver bool `json:",omitempty"`
}

// followers are the plugins that may follow bridge or ptp, each with everything that it can leave
// somewhere.
var followers = []struct{ name, keys string }{
	{"portmap", `"capabilities": {"portMappings": true}`},
	{"firewall", `"backend": "nftables", "ingressPolicy": "same-bridge"`},
	{"tuning", `"sysctl": {"net.core.somaxconn": "512"}, "mtu": 1400, "promisc": true`},
	{"bandwidth", `"capabilities": {"bandwidth": true}`},
	{"sbr", ``},
}

// The ways to try swiftcni other than bridge alone.
const (
	oursList  = ours + "-list"
	oursPTP   = ours + "-ptp"
	oursChain = ours + "-chain"
	oursAsks  = ours + "-ipam"
	oursLinks = ours + "-macvlan"
	oursTaps  = ours + "-tap"
	oursLends = ours + "-host-device"
	oursDHCP  = ours + "-dhcp"
	oursStays = ours + "-resident"
	// As netavark's driver plugin.
	oursDrives      = ours + "-netavark"
	oursDrivesStays = oursDrives + "-resident"
)

// lists are swiftcni's plugins in lists: all of them after bridge, as processes; ptp with some; and
// bridge with all of them in its key "chain". Two more are bridge alone, in other hands.
func lists(p Plugin) []Plugin {
	dir := filepath.Dir(p.Path)
	list, ptp, one := p, p, p
	list.Name, ptp.Name, one.Name = oursList, oursPTP, oursChain
	head := strings.TrimSuffix(p.Config, "}")
	var chain []string
	for i, f := range followers {
		member := Member{Path: filepath.Join(dir, f.name), Config: fmt.Sprintf(`{"cniVersion": "1.1.0", "name": "crash", "type": %q, %s}`, f.name, f.keys)}
		member.Config = strings.ReplaceAll(member.Config, ", }", "}")
		list.Followers = append(list.Followers, member)
		list.Disturbed = append(list.Disturbed, i+1)
		if f.name == "portmap" || f.name == "bandwidth" {
			ptp.Followers = append(ptp.Followers, member)
		}
		chain = append(chain, strings.ReplaceAll(fmt.Sprintf(`{"type": %q, %s}`, f.name, f.keys), ", }", "}"))
	}
	ptp.Path, ptp.Bridge = filepath.Join(dir, "ptp"), ""
	ptp.Config = strings.NewReplacer(`"type":"bridge"`, `"type":"ptp"`, `"bridge":"cnibr0",`, "", `"isGateway":true,`, "").Replace(p.Config)
	list.Brief, ptp.Brief, one.Brief = true, true, true
	one.Config = head + `, "capabilities": {"portMappings": true, "bandwidth": true}, "chain": [` + strings.Join(chain, ", ") + `]}`
	return []Plugin{list, ptp, one, asking(p), linking(p), tapping(p), lending(p), driving(p)}
}

// asking is bridge with an IPAM plugin that is a program of its own. Only bridge has files that a
// power cut could damage.
func asking(p Plugin) Plugin {
	p.Name, p.Brief, p.Asks, p.Modes = oursAsks, true, true, []string{modeKill, modeFail, modeLimits}
	p.Config = strings.Replace(p.Config, `"type":"host-local"`, `"type":"`+scriptName+`"`, 1)
	return p
}

// scriptName is the name of the plugin [script].
const scriptName = "scripted"

// script is an IPAM plugin whose leases are symbolic links. These are made and removed whole.
const script = `#!/bin/sh
dir=/var/lib/cni/networks/crash
has() { [ -L "$1" ] && [ "$(readlink "$1")" = "$CNI_CONTAINERID" ]; }
case $CNI_COMMAND in
ADD)
	mkdir -p $dir
	for a in 172.19.1.2 172.19.1.3 172.19.1.4; do
		if [ ! -L $dir/$a ] && ln -s "$CNI_CONTAINERID" $dir/$a 2>/dev/null; then
			echo '{"ips": [{"address": "'$a'/28", "gateway": "172.19.1.1"}], "routes": [{"dst": "0.0.0.0/0"}]}'
			exit 0
		fi
	done
	echo '{"code": 100, "msg": "no address is left"}'
	exit 1;;
CHECK) for f in $dir/*; do has $f && exit 0; done; echo '{"code": 101, "msg": "no lease"}'; exit 1;;
DEL) for f in $dir/*; do has $f && rm -f $f; done; exit 0;;
esac
`

func (p *Plugin) members() []Member { return append([]Member{p.Member}, p.Followers...) }

// places returns the places in the list that are to be disturbed.
func (p *Plugin) places() []int {
	if len(p.Disturbed) == 0 {
		return []int{0}
	}
	return p.Disturbed
}

// title names a place of the list.
func (p *Plugin) title(place int) string {
	if len(p.Followers) == 0 {
		return p.Name
	}
	return p.Name + "/" + filepath.Base(p.members()[place].Path)
}

// list runs a verb of all members as libcni does. ADD runs in order, each with the result so far.
// CHECK runs in order and DEL in reverse, with the last result. The first failure ends it. GC asks
// all of them, and the first failure is its answer. With a tracer the trial's member runs under it.
func (t *trying) list(c call, tr *tracer) (all answer, err error) {
	if t.plugin.Driver && driverVerbs[c.verb] == "" {
		return answer{}, nil
	}
	members := t.plugin.members()
	order := make([]int, len(members))
	for i := range order {
		order[i] = i
	}
	if c.verb == "DEL" {
		slices.Reverse(order)
	}
	for _, place := range order {
		c.Member = members[place]
		a, err := t.one(c, place, tr)
		if err != nil {
			return a, err
		}
		if all.ok() {
			all = a
		}
		if !a.ok() && c.verb != "GC" || tr != nil && tr.killed && t.Trial.Mode == modePower {
			return a, nil
		}
		if c.verb == "ADD" {
			c.prev = a.stdout
		}
	}
	return all, nil
}

// one runs a verb of one member.
func (t *trying) one(c call, place int, tr *tracer) (answer, error) {
	if place != t.Trial.Member {
		return c.run()
	}
	if t.begins != nil {
		if err := t.begins(); err != nil {
			return answer{}, err
		}
	}
	if tr == nil {
		return c.run()
	}
	c.deaf, tr.own = t.deaf, t.plugin.Asks
	if t.resident != nil && !t.Trial.Caller {
		return c.follow(tr, t.resident.pid)
	}
	return c.trace(tr)
}

// useCapabilities adds a runtime's keys to a configuration, as far as it asks for them. Each
// container has a host port of its own.
func (c call) useCapabilities(conf map[string]json.RawMessage) error {
	var asked map[string]bool
	if conf["capabilities"] == nil || c.verb == "GC" {
		return nil
	}
	if err := json.Unmarshal(conf["capabilities"], &asked); err != nil {
		return err
	}
	given := map[string]any{
		"portMappings": []map[string]any{{"hostPort": hostPort(c.id), "containerPort": 80, "protocol": "tcp"}},
		"bandwidth":    map[string]int{"ingressRate": 1e8, "ingressBurst": 1e7, "egressRate": 1e8, "egressBurst": 1e7},
	}
	for key := range given {
		if !asked[key] {
			delete(given, key)
		}
	}
	encoded, err := json.Marshal(given)
	conf["runtimeConfig"] = encoded
	return err
}

// hostPort is a container's.
func hostPort(id string) uint32 { return 8000 + crc32.ChecksumIEEE([]byte(id))%1000 }
