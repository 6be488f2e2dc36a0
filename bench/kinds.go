// SPDX-License-Identifier: Apache-2.0

package main

import (
	"fmt"
	"path/filepath"
	"strings"

	"github.com/swiftcni/swiftcni/internal/tool/build"
)

// A kind is a plugin that attaches by a link of the container's own, rather than by a pair of links.
// Addresses are static, so that the time is the link's.
type kind struct {
	plugin, keys string
	setUp        string // shell commands that prepare the host
	probe        string // what follows "ip link add probe" to make such a link, which a kernel may not know
}

// kinds are all of them. Every kernel of a distribution knows them, others don't.
func kinds() []kind {
	const wire = "ip link add card0 type veth peer name far0\nip link set far0 up\n"
	const card, master = wire + "ip link set card0 up", `,"master":"card0"`
	return []kind{
		{plugin: "macvlan", keys: master, setUp: card, probe: "link card0 type macvlan"},
		{plugin: "ipvlan", keys: master, setUp: card, probe: "link card0 type ipvlan"},
		{plugin: "vlan", keys: master + `,"vlanId":7`, setUp: card, probe: "link card0 type vlan id 7"},
		{plugin: "dummy", probe: "type dummy"},
		{plugin: "tap"},
		{plugin: "host-device", keys: `,"device":"card0"`, setUp: wire},
	}
}

// contestants' names: the reference's and ours.
func (k kind) contestants() (theirs, ours string) {
	return k.plugin + "-" + reference, k.plugin + "-" + swiftcni
}

func (b builder) kind(k kind, name, version, dir string) Contestant {
	config := fmt.Sprintf(`{"cniVersion":"1.0.0","name":"mynet","type":%q%s,"ipam":{"type":"static",`+
		`"addresses":[{"address":"172.19.1.2/24","gateway":"172.19.1.1"}],"routes":[{"dst":"0.0.0.0/0"}]}}`, k.plugin, k.keys)
	c := Contestant{Name: name, Version: version, Plugin: filepath.Join(dir, k.plugin), Config: config, Attaches: true, SetUp: k.setUp}
	if k.probe != "" {
		c.Needs = "ip link add probe " + k.probe + " && ip link delete probe"
	}
	return c
}

func (b builder) referenceKind(k kind) error {
	_, err := build.ReferencePlugins(b.progress, b.root, referenceVersion, "main/"+k.plugin, "ipam/static")
	return err
}

func kindsExperiment() experiment {
	var only []string
	for _, k := range kinds() {
		theirs, ours := k.contestants()
		only = append(only, theirs, ours)
	}
	return experiment{name: "kinds", about: "macvlan, ipvlan, vlan, dummy, tap and host-device", axes: []axis{{levels: []int{0}, quick: []int{0}}}, rounds: 60, quick: 5,
		subnet: small, only: only, measure: (*measurer).attach, show: (*Report).showKinds}
}

// showKinds compares whole attachments.
func (r *Report) showKinds() section {
	t := table{head: []string{"ADD and DEL together, with 95 % confidence", "median of rounds"}}
	var lacking []string
	for _, k := range kinds() {
		theirs, ours := k.contestants()
		r.compareLives(&t, "kinds", theirs, ours)
		if why, ok := r.Lacking[ours]; ok {
			lacking = append(lacking, k.plugin+" ("+why+")")
		}
	}
	s := section{title: "Other kinds of links",
		text:   "A link of the container's own, with a static address. It's made, or by host-device moved, where it's an end of a veth of the host's.",
		tables: []table{r.timesTable("kinds"), t, r.countsTable("kinds")}}
	if lacking != nil {
		s.text += " This kernel can't make " + strings.Join(lacking, ", ") + "."
	}
	return s
}
