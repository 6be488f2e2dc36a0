// SPDX-License-Identifier: Apache-2.0

package main

import (
	"fmt"
	"path/filepath"

	"github.com/swiftcni/swiftcni/internal/tool/build"
)

// A kind is a plugin that attaches by a link of the container's own, rather than by a pair of links.
// Addresses are static, so that the time is the link's.
type kind struct {
	plugin, keys string
	setUp        string // shell commands that prepare the host
}

// kinds are those whose links every kernel of a distribution's cloud has.
func kinds() []kind {
	const wire = "ip link add card0 type veth peer name far0\nip link set far0 up\n"
	return []kind{
		{plugin: "macvlan", keys: `,"master":"card0"`, setUp: wire + "ip link set card0 up"},
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
	return Contestant{Name: name, Version: version, Plugin: filepath.Join(dir, k.plugin), Config: config, Attaches: true, SetUp: k.setUp}
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
	return experiment{name: "kinds", about: "macvlan, tap and host-device", axes: []axis{{levels: []int{0}, quick: []int{0}}}, rounds: 60, quick: 5,
		subnet: small, only: only, measure: func(m *measurer) error { return m.rounds(0, true) }, show: (*Report).showKinds}
}

// showKinds compares whole attachments.
func (r *Report) showKinds() section {
	t := table{head: []string{"ADD and DEL together, with 95 % confidence", "median of rounds"}}
	for _, k := range kinds() {
		theirs, ours := k.contestants()
		r.compareLives(&t, "kinds", theirs, ours)
	}
	return section{title: "Other kinds of links",
		text:   "A link of the container's own, with a static address: a macvlan and a tap, which are made, and an end of a veth of the host's, which is moved.",
		tables: []table{r.timesTable("kinds"), t}}
}
