// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"strings"
	"time"

	"github.com/swiftcni/swiftcni/internal/test/box"
)

// inBox is the role of the copy of the program that runs in the box. It reads a plan and writes a
// report.
const inBox = "race"

// A Plan determines a run.
type Plan struct {
	Seed                 uint64
	Ops, Workers         int
	Networks, Containers int
	Lists                bool          // all networks are lists of plugins
	Every                int           // operations between pauses
	Duration             time.Duration // 0 is no limit
	KillWithin           time.Duration // after a process's start
	// Costs is the number of attachments by which GC is compared with DEL. Nothing else is done
	// then.
	Costs int

	Plugins   string   // directory of the plugin bridge
	Resident  string   // the program whose subcommand serve makes the plugins' calls; empty: none does
	Swiftctl  string   // the tool whose gc is run; empty: it isn't
	HostLocal string   // the reference's host-local, which shares the leases
	Conf      string   // the only network's configuration; empty: networks of our choice
	Foreign   bool     // the plugins aren't ours, so promises that only ours make aren't tested
	FullDel   bool     // each DEL gets everything that a runtime may know
	Without   []string // kinds of operations to leave out
	KeepGoing bool
	Verbose   bool
}

// flags are those that make the plan.
func (p *Plan) flags() string {
	s := fmt.Sprintf("-seed %d -ops %d -workers %d -networks %d -containers %d -every %d -kill-within %v",
		p.Seed, p.Ops, p.Workers, p.Networks, p.Containers, p.Every, p.KillWithin)
	if p.Lists {
		s += " -lists"
	}
	if p.FullDel {
		s += " -full-del"
	}
	if p.Resident != "" {
		s += " -resident"
	}
	if p.Without != nil {
		s += fmt.Sprintf(" -without %q", strings.Join(p.Without, ","))
	}
	return s
}

// startInside runs the plan in the box.
func startInside(b *box.Box, p Plan, stderr io.Writer) (*Report, error) {
	encoded, err := json.Marshal(p)
	if err != nil {
		return nil, err
	}
	cmd, err := b.Self(inBox)
	if err != nil {
		return nil, err
	}
	cmd.Stdin, cmd.Stderr = bytes.NewReader(encoded), stderr
	out, err := cmd.Output()
	if err != nil {
		return nil, fmt.Errorf("in the box: %w", err)
	}
	var r Report
	if err := json.Unmarshal(out, &r); err != nil {
		return nil, fmt.Errorf("report: %w", err)
	}
	return &r, nil
}

// insideMain runs a plan, if the process was started for that.
func insideMain() {
	if box.Role() != inBox {
		return
	}
	var p Plan
	err := json.NewDecoder(os.Stdin).Decode(&p)
	var r *Report
	if err == nil {
		r, err = carryOut(p, os.Stderr)
	}
	if err == nil {
		err = json.NewEncoder(os.Stdout).Encode(r)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "race:", err)
		os.Exit(1)
	}
	os.Exit(0)
}
