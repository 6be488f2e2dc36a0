// SPDX-License-Identifier: Apache-2.0

// Command bench measures what an attachment costs: ADD and DEL as whole processes, of swiftcni, of the
// reference plugins in their three ways to masquerade, and of a floor in C that does the work and nothing
// else. Empty programs in C and in Go show how much of it is the price of a process.
//
//	go run ./bench                # 200 rounds, some minutes
//	go run ./bench -quick         # 30 rounds
//	go run ./bench -only swiftcni,floor -json report.json
//
// All contestants run interleaved, in an order shuffled anew each round, in one host in a box: their ratios
// travel to other machines, their times don't. Counts (system calls, processes, netlink messages) come from
// separate runs under strace, and hardly vary.
package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/swiftcni/swiftcni/internal/box"
	"github.com/swiftcni/swiftcni/internal/build"
)

func main() {
	box.Main()
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
	rounds, warmUp, traced int
	seed                   uint64
	settle                 time.Duration
	only                   []string
	json, swiftcni, traces string
	plugins                []Contestant
}

func parseFlags(args []string, stderr io.Writer) (options, error) {
	var o options
	f := flag.NewFlagSet("bench", flag.ContinueOnError)
	f.SetOutput(stderr)
	f.IntVar(&o.rounds, "n", 200, "rounds that count")
	quick := f.Bool("quick", false, "30 rounds, unless -n says otherwise")
	f.IntVar(&o.warmUp, "warmup", 3, "rounds before them, not counted; the first one verifies each contestant's work")
	f.IntVar(&o.traced, "traced", 3, "runs under strace for each count, whose median is told; 0: no counts")
	f.Uint64Var(&o.seed, "seed", 1, "seed of the order of contestants and of the bootstrap")
	f.DurationVar(&o.settle, "settle", 20*time.Millisecond, "pause after each measured process, for what the kernel does later")
	only := f.String("only", "", "comma-separated contestants (default: all)")
	f.StringVar(&o.json, "json", "", "file for the report with raw samples")
	f.StringVar(&o.traces, "traces", "", "directory to keep strace's output in, a file for each contestant and verb")
	f.StringVar(&o.swiftcni, "swiftcni", "", "swiftcni's binary (default: built from ./cmd/swiftcni)")
	f.Func("plugin", "one more contestant, `NAME=DIR:CONF`: directory of plugins, and configuration file", func(s string) error {
		c, err := parsePlugin(s)
		o.plugins = append(o.plugins, c)
		return err
	})
	if err := f.Parse(args); err != nil {
		return o, err
	}
	if f.NArg() > 0 {
		return o, fmt.Errorf("unexpected argument %q", f.Arg(0))
	}
	given := map[string]bool{}
	f.Visit(func(f *flag.Flag) { given[f.Name] = true })
	if *quick && !given["n"] {
		o.rounds = 30
	}
	if *only != "" {
		o.only = strings.Split(*only, ",")
	}
	if o.rounds < 1 || o.warmUp < 1 {
		return o, errors.New("at least one round, and one to warm up, are needed")
	}
	return o, nil
}

// run is the program. A contestant that can't run is reported, and is an error once the others have run.
func run(args []string, stdout, stderr io.Writer) error {
	o, err := parseFlags(args, stderr)
	if err != nil {
		return err
	}
	report, err := measure(o, stderr)
	if err != nil {
		return err
	}
	report.Command = append([]string{"bench"}, args...)
	report.write(stdout)
	if o.json != "" {
		encoded, err := json.Marshal(report)
		if err != nil {
			return err
		}
		// A report travels: it names programs from the tree's top on.
		if dir, err := os.Getwd(); err == nil {
			encoded = bytes.ReplaceAll(encoded, []byte(dir+"/"), nil)
		}
		if err := os.WriteFile(o.json, append(encoded, '\n'), 0o644); err != nil {
			return err
		}
	}
	if len(report.Absent) > 0 {
		return fmt.Errorf("contestants are absent: %s", strings.Join(sortedKeys(report.Absent), ", "))
	}
	return nil
}

// measure builds the contestants, makes a box, and lets a copy of this program measure them inside.
func measure(o options, stderr io.Writer) (*Report, error) {
	root, err := build.Root()
	if err != nil {
		return nil, err
	}
	builder := builder{root: root, cache: root + "/.cache/bench", swiftcni: o.swiftcni, progress: stderr}
	contestants, absent, err := builder.contestants(o.only, o.plugins)
	if err != nil {
		return nil, err
	}
	if len(contestants) == 0 {
		return nil, errors.New("no contestant can run")
	}
	if o.traces != "" {
		if o.traces, err = filepath.Abs(o.traces); err != nil {
			return nil, err
		}
		if err := os.MkdirAll(o.traces, 0o755); err != nil {
			return nil, err
		}
	}
	b, err := box.Start(box.Options{Hostname: "bench"})
	if err != nil {
		return nil, err
	}
	defer b.Close()
	load := loadAverage()
	p := plan{
		Contestants: contestants, Rounds: o.rounds, WarmUp: o.warmUp, Traced: o.traced, Seed: o.seed,
		Traces: o.traces, Settle: o.settle, Launcher: builder.cache + "/launch", Terminal: isTerminal(stderr),
	}
	results, err := startInside(b, p, stderr)
	if err != nil {
		return nil, err
	}
	return newReport(root, load, p, absent, results), nil
}
