// SPDX-License-Identifier: Apache-2.0

package main

import (
	"math/rand/v2"
	"slices"
	"time"
)

// A kind is the kind of an operation.
type kind struct {
	name   string
	weight int
	do     func(*runner, *op) error
}

// kinds are all operations. A weight is how often one comes, relative to the others.
func kinds() []kind {
	return []kind{
		{"add", 300, (*runner).add},
		{"add again", 40, (*runner).addAgain},
		{"del", 200, (*runner).del},
		{"del unknown", 20, (*runner).delUnknown},
		{"check", 90, (*runner).check},
		{"status", 20, (*runner).status},
		{"gc", 10, (*runner).gc},
		{"gc dead", 10, (*runner).gcDead},
		{"swiftctl gc", 6, (*runner).swiftctlGC},
		{"kill add", 60, (*runner).killAdd},
		{"kill del", 40, (*runner).killDel},
		{"kill gc", 4, (*runner).killGC},
		{"kill gc dead", 4, (*runner).killGCDead},
		{"end container", 35, (*runner).endContainer},
		{"end container while adding", 15, (*runner).addToDying},
		{"delete link", 20, (*runner).deleteLink},
		{"rename link", 10, (*runner).renameLink},
		{"delete bridge", 2, (*runner).deleteBridge},
		{"flush ruleset", 1, (*runner).flushRuleset},
		{"reference add", 20, (*runner).referenceAdd},
		{"reference del", 16, (*runner).referenceDel},
		{"kill reference", 6, (*runner).killReference},
	}
}

// tries is how many attachments an operation looks at to find one that fits it.
const tries = 8

// An op is one operation. Everything in it follows from the seed and its number.
type op struct {
	number int
	kind
	at    [tries]place
	delay time.Duration // of a kill, or of an event meanwhile
	coins uint64        // bits for choices
	more  *rand.Rand    // for choices that depend on how many things there are
}

// A place is a container and a network.
type place struct{ slot, network int }

// coin returns one of the operation's random bits.
func (o *op) coin(i int) bool { return o.coins>>i&1 == 1 }

// victim is which plugin of a list a kill hits.
func (o *op) victim() int { return int(o.coins >> 40) }

// A schedule makes operations.
type schedule struct {
	seed       uint64
	kinds      []kind
	total      int
	networks   []*network
	shares     int
	containers int
	killWithin time.Duration
}

func newSchedule(p Plan, networks []*network) *schedule {
	s := &schedule{seed: p.Seed, networks: networks, containers: p.Containers, killWithin: p.KillWithin}
	all := kinds()
	if p.Resident != "" {
		all = append(all, residentKinds()...)
	}
	for _, k := range all {
		if !slices.Contains(p.Without, k.name) && (k.name != "swiftctl gc" || p.Swiftctl != "") {
			s.kinds = append(s.kinds, k)
			s.total += k.weight
		}
	}
	for _, n := range networks {
		s.shares += n.share
	}
	return s
}

// op returns the operation of a number.
func (s *schedule) op(number int) *op {
	r := rand.New(rand.NewPCG(s.seed, uint64(number)))
	o := &op{number: number, kind: s.kinds[0], more: r}
	for w, i := r.IntN(s.total), 0; ; i++ {
		if w -= s.kinds[i].weight; w < 0 {
			o.kind = s.kinds[i]
			break
		}
	}
	for i := range o.at {
		o.at[i] = place{slot: r.IntN(s.containers), network: s.network(r.IntN(s.shares))}
	}
	o.delay = time.Duration(r.Int64N(int64(s.killWithin))) + time.Microsecond
	o.coins = r.Uint64()
	return o
}

func (s *schedule) network(share int) int {
	for i, n := range s.networks {
		if share -= n.share; share < 0 {
			return i
		}
	}
	return 0
}
