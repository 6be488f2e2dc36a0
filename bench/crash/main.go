// SPDX-License-Identifier: Apache-2.0

// Command crash looks for the remains of a CNI plugin when it dies, when the kernel refuses, when
// the power fails, and when something runs out. Each trial disturbs one verb at one system call, on
// a fresh host in a box. Afterwards other containers must be served as ever, and DEL must succeed.
// Then nothing may be left: no link, rule, element, lease, record, temporary file, held lock,
// process, or held namespace.
//
//	go -C bench run ./crash -quick                       # swiftcni, a size for CI
//	go -C bench run ./crash -reference                   # the reference plugins in a column beside it
//	go -C bench run ./crash -plugin mine=/opt/cni/bin:mine.conf -swiftcni ''
//	go -C bench run ./crash -mode kill -verb ADD -only linkat#1 -v
//
// swiftcni's other plugins are tried in lists with bridge or ptp, as a runtime runs them, and in
// bridge's key "chain". bridge is also tried with an IPAM plugin that is a script, always at the
// size of -quick, and with a resident (swiftctl serve) that makes its calls. Then it's the resident
// that dies or is refused in the middle of a call. In the mode caller its caller dies meanwhile. Two
// more ways are those of podman 5, by netavark's protocol, without a resident and with one. macvlan,
// tap and host-device are ways of their own, and so is macvlan with addresses by DHCP.
//
// The exit status is 1 if swiftcni leaks, or if the only plugins that were given do.
package main

import (
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/swiftcni/swiftcni/internal/test/box"
	"github.com/swiftcni/swiftcni/internal/tool/build"
)

func main() {
	box.Main()
	insideMain()
	if err := run(os.Args[1:], os.Stdout, os.Stderr); err != nil {
		if errors.Is(err, flag.ErrHelp) {
			os.Exit(2)
		}
		fmt.Fprintln(os.Stderr, "crash:", err)
		os.Exit(1)
	}
}

// options are the command line's.
type options struct {
	verbs, modes []string
	ways         []string // in which swiftcni is tried
	quick, all   bool
	from, only   Call
	reference    bool
	swiftcni     string
	noSwiftcni   bool
	plugins      []Plugin
	json         string
	verbose      bool
	boxes        int
	sample       int
}

var (
	allVerbs = []string{"ADD", "DEL", "CHECK", "GC"}
	allModes = []string{modeKill, modeFail, modePower, modeLimits, modeCaller}
	allWays  = []string{ours, oursList, oursPTP, oursChain, oursAsks, oursLinks, oursTaps, oursLends, oursDHCP, oursStays, oursDrives, oursDrivesStays}
)

func parseFlags(args []string, stderr io.Writer) (options, error) {
	o := options{verbs: allVerbs, modes: allModes, ways: allWays}
	f := flag.NewFlagSet("crash", flag.ContinueOnError)
	f.SetOutput(stderr)
	list := func(into *[]string, known []string) func(string) error {
		return func(s string) error {
			*into = strings.Split(s, ",")
			for _, word := range *into {
				if !slices.Contains(known, word) {
					return fmt.Errorf("%q isn't one of %s", word, strings.Join(known, ", "))
				}
			}
			return nil
		}
	}
	f.Func("verb", "comma-separated `verbs` (default: ADD,DEL,CHECK,GC)", list(&o.verbs, allVerbs))
	f.Func("mode", "comma-separated `modes` (default: "+strings.Join(allModes, ",")+")", list(&o.modes, allModes))
	f.BoolVar(&o.quick, "quick", false, "a size for CI: at each system call, but with one of the errors, damages and events")
	f.BoolVar(&o.all, "all", false, "also at the language runtime's own system calls, such as mmap and futex")
	f.Func("from", "begin at this system call of each run, `NAME#K`", callFlag(&o.from))
	f.Func("only", "at this system call alone, `NAME#K`", callFlag(&o.only))
	f.BoolVar(&o.reference, "reference", false, "also the reference plugins "+referenceVersion)
	f.Func("swiftcni", "swiftcni's `binary` (default: built from ./cmd/swiftcni; empty: leave it out)", func(s string) error {
		o.swiftcni, o.noSwiftcni = s, s == ""
		return nil
	})
	f.Func("way", "comma-separated `ways` to try swiftcni: bridge alone, and its other plugins in lists (default: "+strings.Join(allWays, ",")+")",
		list(&o.ways, allWays))
	f.Func("plugin", "one more plugin, `NAME=DIR:CONF`: directory of plugins, and configuration file", func(s string) error {
		p, err := parsePlugin(s)
		o.plugins = append(o.plugins, p)
		return err
	})
	f.StringVar(&o.json, "json", "", "file for all outcomes")
	f.BoolVar(&o.verbose, "v", false, "print each trial's answers")
	f.IntVar(&o.boxes, "boxes", 4*runtime.NumCPU(), "trials at a time; each mostly waits for the kernel")
	f.IntVar(&o.sample, "sample", 1, "try each N-th trial of a plugin other than swiftcni")
	if err := f.Parse(args); err != nil {
		return o, err
	}
	if f.NArg() > 0 {
		return o, fmt.Errorf("unexpected argument %q", f.Arg(0))
	}
	if o.boxes < 1 || o.sample < 1 {
		return o, errors.New("-boxes and -sample must be at least 1")
	}
	return o, nil
}

func callFlag(c *Call) func(string) error {
	return func(s string) error {
		name, nth, ok := strings.Cut(s, "#")
		n, err := strconv.Atoi(nth)
		if !ok || err != nil || n < 1 || name == "" {
			return fmt.Errorf("%q isn't NAME#K", s)
		}
		*c = Call{name, n}
		return nil
	}
}

// run is the program.
func run(args []string, stdout, stderr io.Writer) error {
	o, err := parseFlags(args, stderr)
	if err != nil {
		return err
	}
	plugins, err := o.build(stderr)
	if err != nil {
		return err
	}
	began := time.Now()
	report, err := tryAll(o, plugins, stderr)
	if err != nil {
		return err
	}
	report.Seconds = time.Since(began).Seconds()
	report.Command = append([]string{"crash"}, args...)
	report.write(stdout)
	if o.json != "" {
		encoded, err := json.Marshal(report)
		if err != nil {
			return err
		}
		if err := os.WriteFile(o.json, append(encoded, '\n'), 0o644); err != nil {
			return err
		}
	}
	for i, p := range plugins {
		if n := report.failures(p.Name); n > 0 && (p.Gates || i == 0) {
			err = errors.Join(err, fmt.Errorf("%s: %d trials failed", p.Name, n))
		}
	}
	return err
}

func (o options) build(stderr io.Writer) (plugins []Plugin, err error) {
	root, err := build.Root()
	if err != nil {
		return nil, err
	}
	b := builder{root: root, cache: root + "/.cache", progress: stderr}
	if !o.noSwiftcni {
		p, err := b.ours(o.swiftcni)
		if err != nil {
			return nil, err
		}
		for _, p := range append([]Plugin{p}, lists(p)...) {
			if slices.Contains(o.ways, p.Name) {
				plugins = append(plugins, p)
			}
		}
		if slices.Contains(o.ways, oursDHCP) {
			p, err := b.leasing(p)
			if err != nil {
				return nil, err
			}
			plugins = append(plugins, p)
		}
		if slices.Contains(o.ways, oursStays) || slices.Contains(o.ways, oursDrivesStays) {
			cni, driver, err := b.residents(p)
			if err != nil {
				return nil, err
			}
			for _, p := range []Plugin{cni, driver} {
				if slices.Contains(o.ways, p.Name) {
					plugins = append(plugins, p)
				}
			}
		}
	}
	if o.reference {
		p, err := b.reference()
		if err != nil {
			return nil, err
		}
		plugins = append(plugins, p)
	}
	plugins = append(plugins, o.plugins...)
	if len(plugins) == 0 {
		return nil, errors.New("no plugin to try")
	}
	return plugins, nil
}
