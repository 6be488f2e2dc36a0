// SPDX-License-Identifier: Apache-2.0

// Command race compares a seeded random workload of real plugin processes with a model of the rules
// that must hold.
//
//	go -C bench run ./race                          # 2,000 operations, a random seed
//	go -C bench run ./race -seed 7 -ops 10000       # replays a run
//	go -C bench run ./race -resident                # a resident makes the calls
//	go -C bench run ./race -lists                   # all networks are lists of plugins
//	go -C bench run ./race -gc 1000                 # only compares GC with as many DELs
//	go -C bench run ./race -plugin /opt/cni/bin     # another bridge plugin; counts its errors
//
// In a host in a box, workers attach and detach hundreds of containers to several networks, kill
// plugins halfway, end containers without DEL, delete bridges and links, flush the ruleset, run
// swiftctl gc, and let the CNI project's host-local lease from the same directories. In half of the
// networks portmap, firewall, bandwidth and tuning follow the bridge: in its key chain, or as
// programs of their own, with the result of the one before. Some containers ask for the same port
// as another, and get it once that is dead.
//
// Every few hundred operations all pause, and the kernel and the disk are compared with the model.
// No address may exist twice, and nothing without an owner: no link, lease, element, port, opening,
// ifb or saved attribute. Every undisturbed attachment must be whole, and no process may be left. The
// last step detaches everything. Then nothing may be left.
//
// With -resident, swiftctl serve makes the calls. It's replaced, killed and stopped between and
// during operations, and some of those run without it. A call whose resident is killed may end with
// the error that says so, and then counts as killed.
//
// The kinds and parameters of all operations follow from the seed. With one worker their order does
// too, and so does the run. Only the moment at which a kill hits its victim depends on the clock.
package main

import (
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/swiftcni/swiftcni/internal/test/box"
)

func main() {
	box.Main()
	insideMain()
	err := run(os.Args[1:], os.Stdout, os.Stderr)
	switch {
	case err == nil:
	case errors.Is(err, flag.ErrHelp):
		os.Exit(2)
	default:
		fmt.Fprintln(os.Stderr, "race:", err)
		os.Exit(1)
	}
}

// options are the command line's.
type options struct {
	Plan
	json, resident bool
}

func parseFlags(args []string, stderr io.Writer) (options, error) {
	var o options
	f := flag.NewFlagSet("race", flag.ContinueOnError)
	f.SetOutput(stderr)
	f.IntVar(&o.Ops, "ops", 2000, "operations")
	f.DurationVar(&o.Duration, "duration", 0, "stop at the first pause after this time, whatever -ops says; 0: never")
	f.IntVar(&o.Workers, "workers", 4, "operations at once; with 1 a seed replays a run in its order")
	f.IntVar(&o.Networks, "networks", 8, "networks, of eight kinds in turn; four kinds are lists of plugins")
	f.BoolVar(&o.Lists, "lists", false, "make only networks that are lists of plugins")
	f.IntVar(&o.Containers, "containers", 120, "containers")
	f.IntVar(&o.Every, "every", 250, "operations between pauses, at which everything is looked at")
	f.IntVar(&o.Costs, "gc", 0, "only compare what a GC costs to what a DEL for each of so many attachments does")
	f.Uint64Var(&o.Seed, "seed", 0, "seed of the run; 0 picks one and prints it")
	f.DurationVar(&o.KillWithin, "kill-within", 6*time.Millisecond, "kills hit within this time of a process's start; a slower plugin needs more")
	f.BoolVar(&o.FullDel, "full-del", false, "give each DEL its namespace and, if there was one, its prevResult")
	f.BoolVar(&o.resident, "resident", false, "a resident, swiftctl serve, makes the calls; it's killed, replaced and stopped at random moments")
	without := f.String("without", "", "comma-separated kinds of operations to leave out, by the names that the report prints")
	plugin := f.String("plugin", "", "`DIR[:CONF]`: another bridge plugin's directory, and a configuration file, of version 1.0.0 or 1.1.0, for the only network")
	f.StringVar(&o.Plugins, "swiftcni", "", "`DIR` of swiftcni's bridge (default: built from ./cmd/swiftcni)")
	f.BoolVar(&o.KeepGoing, "keep-going", false, "count violations rather than stop at the first; so with -plugin")
	f.BoolVar(&o.Verbose, "v", false, "print each operation")
	f.BoolVar(&o.json, "json", false, "print the report as JSON")
	if err := f.Parse(args); err != nil {
		return o, err
	}
	switch {
	case f.NArg() > 0:
		return o, fmt.Errorf("unexpected argument %q", f.Arg(0))
	case o.KillWithin < time.Millisecond:
		return o, errors.New("-kill-within must be at least 1ms")
	case o.Ops < 1 || o.Workers < 1 || o.Networks < 1 || o.Containers < 1 || o.Every < 1:
		return o, errors.New("-ops, -workers, -networks, -containers and -every must be at least 1")
	}
	if o.Seed == 0 {
		o.Seed = rand.Uint64N(1<<32-1) + 1
	}
	if *without != "" {
		o.Without = strings.Split(*without, ",")
	}
	return o, o.parsePlugin(*plugin)
}

// parsePlugin reads DIR[:CONF].
func (p *Plan) parsePlugin(s string) error {
	if s == "" {
		return nil
	}
	dir, conf, found := strings.Cut(s, ":")
	dir, err := filepath.Abs(dir)
	if err != nil {
		return err
	}
	p.Plugins, p.Foreign, p.KeepGoing = dir, true, true
	if !found {
		return nil
	}
	text, err := os.ReadFile(conf)
	if err != nil {
		return err
	}
	p.Conf = string(text)
	var known struct{ CNIVersion string }
	if err := json.Unmarshal(text, &known); err != nil {
		return fmt.Errorf("%s: %w", conf, err)
	}
	switch known.CNIVersion {
	case "1.1.0":
	case "1.0.0": // its verbs are ADD, DEL and CHECK
		p.Without = append(p.Without, "gc", "gc dead", "kill gc", "kill gc dead", "status")
	default:
		return fmt.Errorf("%s: cniVersion %q, expected 1.0.0 or 1.1.0", conf, known.CNIVersion)
	}
	return nil
}

// errViolated says that the report has at least one violation.
var errViolated = errors.New("the model was violated")

// run is the program.
func run(args []string, stdout, stderr io.Writer) error {
	o, err := parseFlags(args, stderr)
	if err != nil {
		return err
	}
	if err := prepare(&o.Plan, o.resident, stderr); err != nil {
		return err
	}
	if o.Costs == 0 {
		fmt.Fprintf(stderr, "race: seed %d, %d operations by %d workers\n", o.Seed, o.Ops, o.Workers)
	}
	report, err := race(o.Plan, stderr)
	if err != nil {
		return fmt.Errorf("seed %d: %w", o.Seed, err)
	}
	if o.json {
		err = json.NewEncoder(stdout).Encode(report)
	} else {
		report.write(stdout)
	}
	if err == nil && report.Violations > 0 {
		err = errViolated
	}
	return err
}

// race runs a plan in a box of its own.
func race(p Plan, stderr io.Writer) (*Report, error) {
	b, err := box.Start(box.Options{Hostname: "race"})
	if err != nil {
		return nil, err
	}
	defer b.Close()
	started := time.Now()
	r, err := startInside(b, p, stderr)
	if r != nil {
		r.Took = time.Since(started)
	}
	return r, err
}
