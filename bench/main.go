// SPDX-License-Identifier: Apache-2.0

// Command bench measures the cost of an attachment: by swiftcni, by the reference plugins in their
// three ways to masquerade, and by a floor in C that does only the work. Empty programs in C and in
// Go show how much of it is the price of a process.
//
//	go -C bench run .                    # ADD and DEL as whole processes: 200 rounds, some minutes
//	go -C bench run . flat -quick        # on nodes that fill up; seconds instead of minutes
//	go -C bench run . pod -busy 1        # beside a job that keeps a processor busy
//	go -C bench run . kinds -guest trixie -n 5    # on Debian 13's kernel, emulated, in its time
//	go -C bench run . compare HEAD~5     # that revision and the working tree, with a verdict
//	go -C bench run . all -out report    # report.json, report.md, report.html and its plots
//	go -C bench run . show report/report.json -out report -doc ../docs/performance.md    # again
//
// All contestants run interleaved, in an order shuffled anew each round, in one host in a box.
// Their ratios travel to other machines, their times don't. Counts (system calls, processes,
// netlink messages) come from separate runs under strace, and hardly vary.
package main

import (
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/swiftcni/swiftcni/internal/test/box"
	"github.com/swiftcni/swiftcni/internal/test/kernels"
	"github.com/swiftcni/swiftcni/internal/tool/build"
)

func main() {
	box.Main()
	busyMain()
	guestMain()
	insideMain()
	if err := run(os.Args[1:], os.Stdout, os.Stderr); err != nil {
		if errors.Is(err, flag.ErrHelp) {
			os.Exit(2)
		}
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1)
	}
}

// options are the command line's.
type options struct {
	experiments      []experiment
	revisions        []string // of compare
	report           string   // of show
	rounds           int      // 0: the experiment's own
	warmUp, traced   int
	quick            bool
	seed             uint64
	settle, patience time.Duration
	only             []string
	json, out, doc   string
	axis             string
	swiftcni, traces string
	plugins          []Contestant
	busy             int
	guest            kernels.Release
}

func parseFlags(args []string, stderr io.Writer) (options, error) {
	var o options
	command := "attach"
	if len(args) > 0 && !strings.HasPrefix(args[0], "-") {
		command, args = args[0], args[1:]
	}
	f := flag.NewFlagSet("bench", flag.ContinueOnError)
	f.SetOutput(stderr)
	f.Usage = func() { usage(f, stderr) }
	f.IntVar(&o.rounds, "n", 0, "rounds that count (default: each experiment's own)")
	f.BoolVar(&o.quick, "quick", false, "few rounds, small fills, unless -n says otherwise")
	f.IntVar(&o.warmUp, "warmup", 3, "rounds before them, not counted; the first one verifies each contestant's work")
	f.IntVar(&o.traced, "traced", 3, "runs under strace for each count, whose median is told; 0: no counts")
	f.Uint64Var(&o.seed, "seed", 1, "seed of the order of contestants and of the bootstrap")
	f.DurationVar(&o.settle, "settle", 20*time.Millisecond, "pause after each measured process, for what the kernel does later")
	f.DurationVar(&o.patience, "patience", 5*time.Second, "wait for a first reply of a reused address; a neighbour's stale entry lasts up to 50s")
	only := f.String("only", "", "comma-separated contestants (default: those that an experiment is about)")
	f.IntVar(&o.busy, "busy", 0, "jobs that each keep a processor busy meanwhile")
	f.StringVar((*string)(&o.guest), "guest", "", "measure on the kernel of this `RELEASE` of Debian's, such as trixie, in a guest that qemu emulates, where an instruction takes a nanosecond; kinds only")
	f.StringVar(&o.axis, "axis", "", "the one thing to fill a node with: leases, rules, links, mounts or attachments (default: each)")
	f.StringVar(&o.json, "json", "", "file for the report with raw samples")
	f.StringVar(&o.out, "out", "", "directory for the report as report.json, report.md and report.html")
	f.StringVar(&o.doc, "doc", "", "Markdown file to put figures into, between lines <!-- bench NAME --> and <!-- end -->")
	f.StringVar(&o.traces, "traces", "", "directory to keep strace's and perf's output in, a file for each contestant and verb")
	f.StringVar(&o.swiftcni, "swiftcni", "", "swiftcni's binary (default: built from ./cmd/swiftcni)")
	f.Func("plugin", "one more contestant, `NAME=DIR:CONF`: directory of plugins, and configuration file; it gets CNI_ARGS of the environment", func(s string) error {
		c, err := parsePlugin(s)
		o.plugins = append(o.plugins, c)
		return err
	})
	positional, err := parseMixed(f, args)
	if err != nil {
		return o, err
	}
	if *only != "" {
		o.only = strings.Split(*only, ",")
	}
	if o.rounds < 0 || o.warmUp < 1 {
		return o, errors.New("at least one round, and one to warm up, are needed")
	}
	if o.busy < 0 {
		return o, errors.New("no fewer than 0 jobs can keep processors busy")
	}
	if o.guest != "" && command != "kinds" {
		return o, errors.New("a guest has the programs of kinds only")
	}
	return o, o.choose(command, positional)
}

// parseMixed lets flags stand before and after other arguments, which it returns.
func parseMixed(f *flag.FlagSet, args []string) (positional []string, err error) {
	for {
		if err := f.Parse(args); err != nil {
			return nil, err
		}
		if f.NArg() == 0 {
			return positional, nil
		}
		positional, args = append(positional, f.Arg(0)), f.Args()[1:]
	}
}

// choose picks the experiments of a subcommand. `all` is all but compare.
func (o *options) choose(command string, positional []string) error {
	switch e := findExperiment(command); {
	case command == "show":
		if len(positional) != 1 {
			return errors.New("show wants one report.json")
		}
		o.report = positional[0]
		return nil
	case command == "all":
		for _, e := range experiments() {
			if e.name != "compare" {
				o.experiments = append(o.experiments, e)
			}
		}
	case e == nil:
		return fmt.Errorf("unknown experiment %q", command)
	default:
		o.experiments = []experiment{*e}
	}
	if command == "compare" {
		if len(positional) != 1 && len(positional) != 2 {
			return errors.New("compare wants one revision, or two")
		}
		o.revisions = positional
	} else if len(positional) > 0 {
		return fmt.Errorf("unexpected argument %q", positional[0])
	}
	return nil
}

func usage(f *flag.FlagSet, w io.Writer) {
	fmt.Fprintf(w, "bench [EXPERIMENT] [FLAGS]\n\n")
	for _, e := range experiments() {
		fmt.Fprintf(w, "  %-10s %s\n", e.name, e.about)
	}
	fmt.Fprintf(w, "  %-10s %s\n", "all", "all of them but compare")
	fmt.Fprintf(w, "  %-10s %s\n\n", "show", "nothing is measured: tells the report.json given, by -out, -doc and on the terminal")
	f.PrintDefaults()
}

// run is the program. A contestant that can't run is reported, and is an error once the others have
// run.
func run(args []string, stdout, stderr io.Writer) error {
	o, err := parseFlags(args, stderr)
	if err != nil {
		return err
	}
	root, err := build.Root()
	if err != nil {
		return err
	}
	if o.report != "" {
		return show(root, o, stdout)
	}
	if o.traces != "" {
		if o.traces, err = filepath.Abs(o.traces); err != nil {
			return err
		}
		if err := os.MkdirAll(o.traces, 0o755); err != nil {
			return err
		}
	}
	report := newReport(root, append([]string{"bench"}, fromHere(root, args)...), o)
	if err := report.measureAll(o, stderr); err != nil {
		return err
	}
	if err := report.write(o, stdout); err != nil {
		return err
	}
	if len(report.Absent) > 0 {
		return fmt.Errorf("contestants are absent: %s", strings.Join(sortedKeys(report.Absent), ", "))
	}
	return nil
}

// fromHere returns a command line without the path of this machine's repository.
func fromHere(root string, args []string) []string {
	paths := strings.NewReplacer(root+"/bench/", "", root+"/", "../")
	shorter := make([]string, len(args))
	for i, a := range args {
		shorter[i] = paths.Replace(a)
	}
	return shorter
}

// measureAll measures one experiment after the other, beside the jobs that are asked for.
func (r *Report) measureAll(o options, stderr io.Writer) (err error) {
	end, err := keepBusy(o.busy)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, end()) }()
	for _, e := range o.experiments {
		if err := r.measure(&e, o, stderr); err != nil {
			return fmt.Errorf("%s: %w", e.name, err)
		}
	}
	return nil
}

// measure builds an experiment's contestants, makes a box for each axis, and lets a copy of this
// program measure them inside.
func (r *Report) measure(e *experiment, o options, stderr io.Writer) error {
	builder := newBuilder(r.root, e.subnet, o.swiftcni, stderr)
	var contestants []Contestant
	var absent map[string]string
	var err error
	switch only := o.only; {
	case e.name == "compare":
		contestants, err = builder.revisions(o.revisions)
	default:
		if only == nil {
			only = e.only
			for _, p := range o.plugins {
				if only != nil {
					only = append(only, p.Name)
				}
			}
		}
		contestants, absent, err = builder.contestants(only, o.plugins)
	}
	if err = errors.Join(err, builder.install()); err != nil {
		return err
	}
	if len(contestants) == 0 {
		return errors.New("no contestant can run")
	}
	if e.name == "attach" {
		if err := r.footprints(contestants); err != nil {
			return err
		}
	}
	plans := e.plans(o)
	if len(plans) == 0 {
		return fmt.Errorf("nothing is called %q there", o.axis)
	}
	for _, p := range plans {
		p.Contestants, p.Launcher, p.Subnet, p.Terminal = contestants, builder.launcher(), e.subnet, isTerminal(stderr)
		start := p.start
		if o.guest != "" {
			start = func(stderr io.Writer) (*results, error) { return r.inGuest(builder, p, o.guest, stderr) }
		}
		found, err := start(stderr)
		if err != nil {
			return err
		}
		found.sort(contestants)
		r.merge(found)
		r.Plans = append(r.Plans, p)
	}
	for name, why := range absent {
		r.Absent[name] = why
	}
	return nil
}
