// SPDX-License-Identifier: Apache-2.0

package main

import (
	"fmt"
	"io"
	"maps"
	"math/rand/v2"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/swiftcni/swiftcni/internal/test/box"
)

func TestMain(m *testing.M) {
	box.Main()
	insideMain()
	os.Exit(m.Run())
}

// plan is a small run of our own plugin.
func plan(t *testing.T, seed uint64, ops int) Plan {
	t.Helper()
	p := Plan{Seed: seed, Ops: ops, Workers: 4, Networks: 4, Containers: 60, Every: 100, KillWithin: 6 * time.Millisecond}
	if err := prepare(&p, false, io.Discard); err != nil {
		t.Fatal(err)
	}
	return p
}

func carry(t *testing.T, p Plan) *Report {
	t.Helper()
	var progress strings.Builder
	r, err := race(p, &progress)
	if err != nil {
		t.Fatalf("seed %d: %v\n%s", p.Seed, err, progress.String())
	}
	return r
}

func mustHold(t *testing.T, r *Report) {
	t.Helper()
	if r.Violations > 0 || r.Pauses < 2 || r.MostAttached == 0 {
		var text strings.Builder
		r.write(&text)
		t.Error(text.String())
	}
}

func TestModelHoldsForAFixedSeed(t *testing.T) {
	p := plan(t, 2, 400)
	p.Workers = 1
	mustHold(t, carry(t, p))
}

func TestModelHoldsForARandomSeed(t *testing.T) {
	seed := rand.Uint64N(1 << 32)
	t.Logf("seed %d", seed)
	mustHold(t, carry(t, plan(t, seed, 400)))
}

func TestModelHoldsForLists(t *testing.T) {
	p := plan(t, rand.Uint64N(1<<32), 300)
	t.Logf("seed %d", p.Seed)
	p.Lists, p.Containers = true, 30
	mustHold(t, carry(t, p))
}

// Containers end and come back, by the same names, while GC without a list looks for the dead.
func TestGCOfTheDeadSparesThoseThatComeBack(t *testing.T) {
	for _, c := range []struct {
		name                  string
		lists                 bool
		ops, containers, each int
	}{
		{"bridges", false, 1500, 30, 500},
		{"lists", true, 400, 10, 200},
	} {
		t.Run(c.name, func(t *testing.T) {
			p := plan(t, rand.Uint64N(1<<32), c.ops)
			t.Logf("seed %d", p.Seed)
			p.Lists, p.Workers, p.Containers, p.Every = c.lists, 6, c.containers, c.each
			for _, k := range kinds() {
				if !slices.Contains([]string{"add", "end container", "gc dead", "swiftctl gc", "check"}, k.name) {
					p.Without = append(p.Without, k.name)
				}
			}
			mustHold(t, carry(t, p))
		})
	}
}

// byResident is a small run whose calls a resident makes.
func byResident(t *testing.T, seed uint64, ops int) Plan {
	t.Helper()
	p := plan(t, seed, ops)
	if err := prepare(&p, true, io.Discard); err != nil {
		t.Fatal(err)
	}
	return p
}

func TestModelHoldsWithAResident(t *testing.T) {
	p := byResident(t, 8, 300)
	p.Networks = 8
	r := carry(t, p)
	mustHold(t, r)
	// Workers meet by chance: each of a few operations may find nothing to do it to.
	happened := 0
	for _, kind := range residentKinds() {
		happened += r.Counts[kind.name]["done"] + r.Counts[kind.name]["started"]
	}
	if happened < 3 {
		t.Errorf("%d residents were killed, replaced, stopped or started", happened)
	}
	if r.Resided < 100 {
		t.Errorf("residents made %d calls", r.Resided)
	}
}

// A resident that ends unasked is told. The operations take several times as long as it lives, on
// any machine.
func TestFaultyResidentIsCaught(t *testing.T) {
	p := byResident(t, 9, 1500)
	script := "#!/bin/sh\nexec timeout --foreground -s KILL 0.5 " + p.Resident + " \"$@\"\n"
	p.Resident, p.KeepGoing, p.Every = filepath.Join(t.TempDir(), "resident"), true, p.Ops // no pause ends it first
	if err := os.WriteFile(p.Resident, []byte(script), 0o755); err != nil {
		t.Fatal(err)
	}
	for _, k := range residentKinds() {
		p.Without = append(p.Without, k.name)
	}
	if r := carry(t, p); r.Kinds[wrongResident] == 0 {
		t.Errorf("not caught: %v", r.Kinds)
	}
}

// With one worker, and without what the clock has a say in, a seed replays a run.
func TestASeedReplaysARun(t *testing.T) {
	p := plan(t, 3, 200)
	p.Workers = 1
	for _, k := range kinds() {
		if strings.HasPrefix(k.name, "kill") || strings.HasPrefix(k.name, "end container") {
			p.Without = append(p.Without, k.name)
		}
	}
	first, second := carry(t, p), carry(t, p)
	mustHold(t, first)
	if !reflect.DeepEqual(first.Counts, second.Counts) {
		t.Errorf("first run: %v\nsecond run: %v", first.Counts, second.Counts)
	}
}

func TestAScheduleFollowsFromItsSeed(t *testing.T) {
	tell := func(seed uint64) (list []string) {
		p := Plan{Seed: seed, Networks: 4, Containers: 100, KillWithin: time.Second}
		networks, err := p.networks()
		if err != nil {
			t.Fatal(err)
		}
		s := newSchedule(p, networks)
		for i := range 1000 {
			o := s.op(i)
			list = append(list, fmt.Sprint(o.name, o.at, o.delay, o.coins, o.more.Uint64()))
		}
		return list
	}
	one := tell(1)
	if !slices.Equal(one, tell(1)) {
		t.Error("one seed, two schedules")
	}
	if slices.Equal(one, tell(2)) {
		t.Error("two seeds, one schedule")
	}
}

func TestEveryKindComesUp(t *testing.T) {
	p := Plan{Seed: 10, Networks: 4, Containers: 10, KillWithin: time.Second, Resident: "swiftctl", Swiftctl: "swiftctl"}
	networks, err := p.networks()
	if err != nil {
		t.Fatal(err)
	}
	seen := map[string]int{}
	s := newSchedule(p, networks)
	for i := range 10000 {
		seen[s.op(i).name]++
	}
	for _, k := range append(kinds(), residentKinds()...) {
		if want := k.weight * 10000 / s.total; seen[k.name] < want/2 || seen[k.name] > want*2+10 {
			t.Errorf("%s: %d of 10000, expected about %d", k.name, seen[k.name], want)
		}
	}
}

// faulty are plugins that do one thing wrong around ours, and what must be said of them.
var faulty = []struct {
	name, script, kind string
	only               []string // kinds of operations; nil is all
}{
	{"swallows DEL", `[ $CNI_COMMAND = DEL ] || exec $ours`, ownerless, nil},
	{"swallows GC", `[ $CNI_COMMAND = GC ] || exec $ours`, ownerless, []string{"add", "gc", "end container"}},
	{"gives an address twice", `exec sed "s,/run/leases,/run/leases/$CNI_CONTAINERID," | $ours`, addressTwice, nil},
	{"loses the link", `$ours || exit; [ $CNI_COMMAND != ADD ] || nsenter --net=$CNI_NETNS ip link delete $CNI_IFNAME`, notWhole, nil},
	{"loses the route", `$ours || exit; [ $CNI_COMMAND != ADD ] || nsenter --net=$CNI_NETNS ip route flush proto boot`, notWhole, nil},
	{"loses the elements", `$ours || exit; [ $CNI_COMMAND != ADD ] || nft flush ruleset`, notWhole, nil},
	{"leaves the elements", `[ $CNI_COMMAND != DEL ] || exec unshare --net $ours; exec $ours`, ownerless, nil},
	{"refuses DEL", `[ $CNI_COMMAND != DEL ] || { echo '{"code":999,"msg":"no"}'; exit 1; }; exec $ours`, unexpectedError, nil},
	{"fails without a word", `out=$($ours) || exit 1; echo "$out"`, noAnswer, nil},
	{"attaches twice", `$ours || { [ $CNI_COMMAND = ADD ] && echo '{"ips":[]}'; }`, unexpectedAnswer, nil},
	{"answers nonsense", `$ours >/dev/null; echo '{"ips":[{"address":"10.1.2.3/24"}]}'`, badResult, nil},
	{"leaves a process", `[ $CNI_COMMAND != STATUS ] || { sleep 100 >/dev/null 2>&1 & }; exec $ours`, processLeft, nil},
}

// undone is a plugin whose ADD leaves nothing.
const undone = `in=$(cat); echo "$in" | $ours || exit; [ $CNI_COMMAND != ADD ] || echo "$in" | CNI_COMMAND=DEL $ours`

// faultyInLists are the same for plugins that follow a bridge.
var faultyInLists = []struct{ name, plugin, script, kind string }{
	{"loses the ports", "portmap", undone, notWhole},
	{"publishes for others", "portmap", `[ $CNI_COMMAND != ADD ] || export CNI_CONTAINERID=not-$CNI_CONTAINERID; exec $ours`, ownerless},
	{"gives a port twice", "portmap", `exec sed 's/"hostPort":80/"hostPort":90/' | $ours`, unexpectedAnswer},
	{"closes the firewall again", "firewall", undone, notWhole},
	{"loses the limits", "bandwidth", `$ours || exit; [ $CNI_COMMAND != ADD ] || ip link delete $(ip -o link show type ifb | grep -o -m1 'bwp[0-9a-f]*')`, notWhole},
	{"leaves what it saved", "tuning", `[ $CNI_COMMAND = DEL ] || exec $ours`, ownerless},
}

func TestFaultyPluginsInListsAreCaught(t *testing.T) {
	ours := plan(t, 5, 60)
	others, err := os.ReadDir(ours.Plugins)
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range faultyInLists {
		t.Run(f.name, func(t *testing.T) {
			p := ours
			p.Plugins, p.Lists, p.Containers, p.KeepGoing, p.Every = t.TempDir(), true, 12, true, 30
			for _, k := range kinds() {
				if !slices.Contains([]string{"add", "del", "check"}, k.name) {
					p.Without = append(p.Without, k.name)
				}
			}
			for _, e := range others {
				if e.Name() == f.plugin {
					continue
				}
				if err := os.Symlink(filepath.Join(ours.Plugins, e.Name()), filepath.Join(p.Plugins, e.Name())); err != nil {
					t.Fatal(err)
				}
			}
			script := "#!/bin/sh\nours=" + filepath.Join(ours.Plugins, f.plugin) + "\n" + f.script + "\n"
			if err := os.WriteFile(filepath.Join(p.Plugins, f.plugin), []byte(script), 0o755); err != nil {
				t.Fatal(err)
			}
			r := carry(t, p)
			if r.Kinds[f.kind] == 0 {
				t.Errorf("not caught: %v", r.Kinds)
			}
			t.Log(slices.Sorted(maps.Keys(r.Kinds)))
		})
	}
}

func TestFaultyPluginsAreCaught(t *testing.T) {
	ours := plan(t, 5, 200)
	for _, f := range faulty {
		t.Run(f.name, func(t *testing.T) {
			p := ours
			p.Plugins, p.KeepGoing, p.Every = t.TempDir(), true, p.Ops
			for _, k := range kinds() {
				if f.only != nil && !slices.Contains(f.only, k.name) {
					p.Without = append(p.Without, k.name)
				}
			}
			script := "#!/bin/sh\nours=" + filepath.Join(ours.Plugins, "bridge") + "\n" + f.script + "\n"
			if err := os.WriteFile(filepath.Join(p.Plugins, "bridge"), []byte(script), 0o755); err != nil {
				t.Fatal(err)
			}
			r := carry(t, p)
			if r.Kinds[f.kind] == 0 {
				t.Errorf("not caught: %v", r.Kinds)
			}
			t.Log(slices.Sorted(maps.Keys(r.Kinds)))
		})
	}
}

// A run that's to stop at the first violation says where, of whom, and what happened to it before.
func TestAViolationStopsTheRun(t *testing.T) {
	p := plan(t, 6, 300)
	p.Plugins = t.TempDir()
	script := "#!/bin/sh\n[ $CNI_COMMAND = DEL ] || exec " + filepath.Join(plan(t, 6, 1).Plugins, "bridge") + "\n"
	if err := os.WriteFile(filepath.Join(p.Plugins, "bridge"), []byte(script), 0o755); err != nil {
		t.Fatal(err)
	}
	r := carry(t, p)
	var text strings.Builder
	r.write(&text)
	for _, want := range []string{"VIOLATION at operation", "seed 6", ": ADD → ", "replay: -seed 6"} {
		if !strings.Contains(text.String(), want) {
			t.Errorf("%q isn't in the report:\n%s", want, text.String())
		}
	}
	if r.Ops == p.Ops && r.Counts["last gc"] != nil {
		t.Error("the run went on")
	}
}
