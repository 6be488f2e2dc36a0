// SPDX-License-Identifier: Apache-2.0

package main

import (
	"fmt"
	"path/filepath"
	"strings"
)

// A network of podman's is a chain of four plugins. The contestants are the reference's, ours in its place, and ours
// with the other three in bridge's key "chain".
const (
	chainReference = "chain-reference"
	chainOurs      = "chain-swiftcni"
	chainOne       = "chain-one-plugin"
)

// chainMembers are what follows bridge, each but for what all have.
var chainMembers = []struct{ name, keys string }{
	{"portmap", `"runtimeConfig":{"portMappings":[{"hostPort":8080,"containerPort":80,"protocol":"tcp"}]}`},
	{"firewall", `"backend":"iptables"`},
	{"tuning", `"sysctl":{"net.core.somaxconn":"512"}`},
}

// chain is a contestant that runs plugins of a directory, one after the other or as one.
func (b builder) chain(name, version, dir string, one bool) Contestant {
	state := "/run/" + name
	bridge := strings.TrimSuffix(b.bridgeConfig(state, true, ""), "}")
	args := []string{state, dir}
	var members []string
	for _, m := range chainMembers {
		members = append(members, fmt.Sprintf(`{"type":%q,%s}`, m.name, m.keys))
	}
	if one {
		// The ports come with the member itself: it has them from here as it has them from a runtime.
		args = append(args, "bridge", bridge+`,"chain":[`+strings.Join(members, ",")+`],`+chainMembers[0].keys)
	} else {
		args = append(args, "bridge", bridge)
		for _, m := range chainMembers {
			args = append(args, m.name, fmt.Sprintf(`{"cniVersion":"1.0.0","name":"mynet","type":%q,%s`, m.name, m.keys))
		}
	}
	return Contestant{
		Name: name, Version: version, Plugin: filepath.Join(b.cache, "chain"), Args: args,
		Attaches: true, Bridge: "cnibr0", Leases: filepath.Join(state, "mynet"), Subnet: b.subnet.String(), SetUp: "mkdir -p " + state,
	}
}

// showChain compares the whole of an attachment's life, ADD and DEL.
func (r *Report) showChain() section {
	t := table{head: []string{"ADD and DEL together, with 95 % confidence", "median of rounds"}}
	life := func(name string) []float64 {
		add, del := r.times(Key{Experiment: "chain", Contestant: name, Verb: verbAdd}), r.times(Key{Experiment: "chain", Contestant: name, Verb: verbDel})
		if len(add) != len(del) {
			return nil
		}
		sum := make([]float64, len(add))
		for i := range add {
			sum[i] = add[i] + del[i]
		}
		return sum
	}
	theirs := life(chainReference)
	for _, name := range []string{chainOurs, chainOne} {
		if ours := life(name); len(ours) > 0 && len(ours) == len(theirs) {
			t.add(chainReference+" / "+name, pairedRatio(theirs, ours, r.Seed))
		}
	}
	return section{title: "A chain of plugins",
		text:   "bridge, portmap with one port, firewall and tuning, as podman's networks have them: by the reference's plugins, by ours, and by ours as one plugin.",
		tables: []table{r.timesTable("chain"), t}}
}
