// SPDX-License-Identifier: Apache-2.0

package main

import (
	"fmt"
	"path/filepath"
	"strings"
)

// A chain is a list of plugins that begins with bridge. The contestants are the reference's
// plugins, ours instead of them, ours with all other plugins in bridge's key "chain", and ours by a
// resident.
type chain struct {
	name, about, text string // name is the experiment's, too
	rounds, quick     int
	loopback          bool   // the plugin loopback runs beside, for lo
	runtime           string // key runtimeConfig, or empty
	members           []chainMember
}

// chainMember follows bridge. Its keys are those that not all members have.
type chainMember struct{ name, keys string }

const publishedPorts = 1000

// chains are podman's network, containerd's for Kubernetes, and one container with very many ports.
func chains() []chain {
	const port = `{"hostPort":8080,"containerPort":80,"protocol":"tcp"}`
	return []chain{
		{name: "chain", about: "four plugins, as podman runs them", rounds: 60, quick: 5,
			text:    "bridge, portmap with one port, firewall and tuning, as podman's networks have them",
			runtime: `{"portMappings":[` + port + `]}`,
			members: []chainMember{{"portmap", `"capabilities":{"portMappings":true}`}, {"firewall", `"backend":"iptables"`},
				{"tuning", `"sysctl":{"net.core.somaxconn":"512"}`}}},
		{name: "pod", about: "what containerd runs for a pod of Kubernetes", rounds: 60, quick: 5, loopback: true,
			text:    "bridge, portmap with one port, and bandwidth with limits for both directions, as containerd has them for Kubernetes, with loopback beside",
			runtime: `{"portMappings":[` + port + `],"bandwidth":{"ingressRate":100000000,"ingressBurst":10000000,"egressRate":100000000,"egressBurst":10000000}}`,
			members: []chainMember{{"portmap", `"capabilities":{"portMappings":true}`}, {"bandwidth", `"capabilities":{"bandwidth":true}`}}},
		{name: "ports", about: fmt.Sprintf("%d ports published by one ADD", publishedPorts), rounds: 40, quick: 4,
			text:    fmt.Sprintf("bridge, and portmap with %d ports, the reference's with its nftables backend", publishedPorts),
			runtime: `{"portMappings":[` + manyPorts() + `]}`,
			members: []chainMember{{"portmap", `"backend":"nftables","capabilities":{"portMappings":true}`}}},
	}
}

func manyPorts() string {
	var list []string
	for i := range publishedPorts {
		list = append(list, fmt.Sprintf(`{"hostPort":%d,"containerPort":%d,"protocol":"tcp"}`, 10000+i, 20000+i))
	}
	return strings.Join(list, ",")
}

// contestants' names: the reference's, ours as several plugins, as one, and as several whose calls a
// resident makes.
func (c chain) contestants() [4]string {
	return [4]string{c.name + "-reference", c.name + "-swiftcni", c.name + "-one-plugin", c.name + "-resident"}
}

// byIPTables is the chain with the backend that the reference chooses by itself if it has both.
// With very many ports that takes a minute, so it takes part only on request: bench ports -only
// ports-reference-iptables -n 1 -warmup 1.
func (c chain) byIPTables() (name string, other chain) {
	other = c
	other.members = nil
	for _, m := range c.members {
		other.members = append(other.members, chainMember{m.name, strings.Replace(m.keys, `"nftables"`, `"iptables"`, 1)})
	}
	return c.name + "-reference-iptables", other
}

func (c chain) experiment() experiment {
	names := c.contestants()
	return experiment{name: c.name, about: c.about, axes: []axis{{levels: []int{0}, quick: []int{0}}}, rounds: c.rounds, quick: c.quick, subnet: small,
		only: names[:], measure: func(m *measurer) error { return m.rounds(0, true) }, show: func(r *Report) section { return r.showChain(c) }}
}

// chain is a contestant that runs plugins of a directory, one after the other or as one.
func (b builder) chain(c chain, name, version, dir string, one bool) Contestant {
	state := "/run/" + name
	bridge := strings.TrimSuffix(b.bridgeConfig(state, true, ""), "}")
	runtime := `,"runtimeConfig":` + c.runtime
	args := []string{state, dir}
	if c.loopback {
		args = append(args, "loopback", `{"cniVersion":"1.0.0","name":"cni-loopback","type":"loopback"`)
	}
	if one {
		var members []string
		for _, m := range c.members {
			members = append(members, fmt.Sprintf(`{"type":%q,%s}`, m.name, m.keys))
		}
		args = append(args, "bridge", bridge+`,"chain":[`+strings.Join(members, ",")+`]`+runtime)
	} else {
		args = append(args, "bridge", bridge)
		for _, m := range c.members {
			conf := fmt.Sprintf(`{"cniVersion":"1.0.0","name":"mynet","type":%q,%s`, m.name, m.keys)
			if strings.Contains(m.keys, "capabilities") {
				conf += runtime
			}
			args = append(args, m.name, conf)
		}
	}
	return Contestant{
		Name: name, Version: version, Plugin: filepath.Join(b.cache, "chain"), Args: args,
		Attaches: true, Bridge: "cnibr0", Leases: filepath.Join(state, "mynet"), Subnet: b.subnet.String(), SetUp: "mkdir -p " + state,
	}
}

// lives returns the duration of each attachment of a contestant, ADD and DEL together, by round.
func (r *Report) lives(experiment, name string) map[int]float64 {
	lives := map[int]float64{}
	for _, verb := range []string{verbAdd, verbDel} {
		if s := r.find(Key{Experiment: experiment, Contestant: name, Verb: verb}); s != nil {
			for _, sample := range s.Samples {
				lives[sample.Round] += sample.Micros
			}
		}
	}
	return lives
}

// compareLives adds how many times as long the first contestant's attachments take, in the rounds in
// which both took part.
func (r *Report) compareLives(t *table, experiment, first, second string) {
	theirs, ours := r.lives(experiment, first), r.lives(experiment, second)
	var a, b []float64
	for _, round := range sortedKeys(theirs) {
		if life, ok := ours[round]; ok {
			a, b = append(a, theirs[round]), append(b, life)
		}
	}
	if len(a) > 0 {
		t.add(first+" / "+second, pairedRatio(a, b, r.Seed))
	}
}

// showChain compares whole attachments.
func (r *Report) showChain(c chain) section {
	t := table{head: []string{"ADD and DEL together, with 95 % confidence", "median of rounds"}}
	names := c.contestants()
	for _, name := range names[1:] {
		r.compareLives(&t, c.name, names[0], name)
	}
	return section{title: "A chain of plugins: " + c.about,
		text:   c.text + ": by the reference's plugins, by ours, by ours as one plugin, and by ours with a resident.",
		tables: []table{r.timesTable(c.name), t}}
}
