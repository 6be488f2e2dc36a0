// SPDX-License-Identifier: Apache-2.0

package main

import "time"

// experiment is a subcommand: its axes, its contestants, its measurement in a box, and its
// presentation.
type experiment struct {
	name, about string
	axes        []axis // one run, and one box, for each
	rounds      int
	quick       int      // rounds with -quick
	only        []string // contestants, if the command line names none; nil is all
	subnet      string
	measure     func(*measurer) error
	show        func(*Report) section
}

// axis is a quantity that an experiment varies, with its values in turn.
type axis struct {
	name          string
	levels, quick []int
}

// section is an experiment's part of a report.
type section struct {
	title, text string
	tables      []table
	plots       []figure
}

const (
	small = "172.19.1.0/24" // the classic configuration's
	large = "172.19.0.0/16"
)

// experiments lists the subcommands, in the order in which `all` runs them.
func experiments() []experiment {
	once := []axis{{levels: []int{0}, quick: []int{0}}}
	lists := chains()
	podman, pod, ports := lists[0], lists[1], lists[2]
	attaching := []string{swiftcni, residents, reference, referenceIPTables, referenceNFTables, floor}
	return []experiment{
		{name: "attach", about: "ADD and DEL as whole processes", axes: once, rounds: 200, quick: 30, subnet: small,
			measure: (*measurer).attach, show: (*Report).showAttach},
		{name: "waterfall", about: "one ADD by step", rounds: 40, quick: 5, subnet: large,
			axes: []axis{{fillAttachments, []int{0, 1000}, []int{0, 20}}}, only: []string{swiftcni, floor}, measure: (*measurer).waterfall, show: (*Report).showWaterfall},
		{name: "inprocess", about: "attaching from a warm process", axes: once, rounds: 300, quick: 20, subnet: small,
			only: []string{swiftcni, floor}, measure: (*measurer).inProcess, show: (*Report).showInProcess},
		{name: "first", about: "time to the first reply, first packets that are lost", axes: once, rounds: 30, quick: 2, subnet: small,
			only: attaching, measure: (*measurer).first, show: (*Report).showFirst},
		{name: "burst", about: "many ADDs at once", rounds: 4, quick: 1, subnet: large, only: attaching,
			axes:    []axis{{name: "at once", levels: []int{1, 16, 64, 256}, quick: []int{1, 8}}},
			measure: (*measurer).burst, show: (*Report).showBurst},
		{name: "succession", about: "ADD and DEL without a pause", axes: once, rounds: 10, quick: 1, subnet: small, only: attaching,
			measure: (*measurer).succession, show: (*Report).showSuccession},
		{name: "flat", about: "ADD and DEL on a full node", axes: fills(), rounds: 40, quick: 3, subnet: large,
			only: []string{swiftcni, residents, floor, emptyC, emptyGo}, measure: (*measurer).flat, show: (*Report).showFlat},
		podman.experiment(), pod.experiment(), ports.experiment(), kindsExperiment(),
		{name: "throughput", about: "what one queue carries, by iperf3", rounds: 10, quick: 1, subnet: small,
			axes: []axis{{"streams", []int{1, 8}, []int{8}}}, only: []string{swiftcni, oursQueues, referenceNFTables}, measure: (*measurer).throughput, show: (*Report).showThroughput},
		{name: "compare", about: "two git revisions: compare A [B], where B may be the working tree", axes: once, rounds: 200,
			quick: 30, subnet: small, measure: (*measurer).attach, show: (*Report).showCompare},
	}
}

func findExperiment(name string) *experiment {
	for _, e := range experiments() {
		if e.name == name {
			return &e
		}
	}
	return nil
}

// plans returns a plan for each axis, or for the wanted one.
func (e *experiment) plans(o options) []plan {
	var list []plan
	for _, a := range e.axes {
		if o.axis != "" && a.name != o.axis {
			continue
		}
		p := plan{Experiment: e.name, Axis: a.name, Levels: a.levels, Rounds: e.rounds, WarmUp: o.warmUp,
			Seed: o.seed, Settle: o.settle, Patience: o.patience, Traces: o.traces}
		if o.quick {
			p.Rounds, p.Levels, p.Patience = e.quick, a.quick, min(o.patience, time.Second)
		}
		if o.rounds > 0 {
			p.Rounds = o.rounds
		}
		switch e.name {
		case "burst":
			p.WarmUp = 1 // each round is many runs
		case "throughput":
			p.WarmUp = 0 // each run is a second
		}
		if e.name == "attach" || e.name == "compare" || e.name == "kinds" {
			p.Traced = o.traced
		}
		list = append(list, p)
	}
	return list
}
