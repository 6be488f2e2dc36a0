// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/swiftcni/swiftcni/internal/test/kernels"
	"github.com/swiftcni/swiftcni/internal/tool/build"
)

// guestVar marks the copy of the program that makes the box of a plan in a guest.
const guestVar = "SWIFTCNI_BENCH_GUEST"

// guestMain runs the plan on standard input in a box, if the process was started for that.
func guestMain() {
	if os.Getenv(guestVar) == "" {
		return
	}
	os.Unsetenv(guestVar)
	carryOut(func(p plan) (*results, error) { return p.start(os.Stderr) })
}

// guestRun are the commands of a guest. The programs have the paths there that they have here, for
// which cache is a link. The directories are those that a box covers, which has no overlays there.
const guestRun = `set -e
mkdir -p /etc/cni /opt/cni /usr/lib/cni /usr/libexec/cni /usr/local/lib/cni /usr/local/libexec/cni /var/lib/cni /var/lib/containers '%[1]s'
ln -s /mnt/programs '%[2]s'
modprobe tun
mount -t cgroup2 cgroup2 /sys/fs/cgroup
` + guestVar + `=1 bench </mnt/plan >/tmp/results`

// machine is the guest's. Each instruction takes it a nanosecond of its own time, whatever this machine
// does meanwhile. The kernel's timers, and what waits for them (RCU), keep their place beside it. It has
// one processor, since qemu would run two of them by turns. That processor doesn't say that it's quick
// at moving bytes (erms, fsrm): qemu counts each byte as an instruction then, and a page as 4,096.
var machine = []string{"-m", "1024", "-icount", "shift=0,sleep=off", "-cpu", "max,-cx16,-erms,-fsrm"}

// inGuest runs a plan on the kernel of a release of Debian's.
func (r *Report) inGuest(b builder, p plan, release kernels.Release, stderr io.Writer) (*results, error) {
	kernel, err := release.Kernel(filepath.Join(b.root, ".cache", "kernels"))
	if err != nil {
		return nil, err
	}
	work, err := os.MkdirTemp("", "swiftcni-bench-")
	if err != nil {
		return nil, err
	}
	defer os.RemoveAll(work)
	files, err := b.guestFiles(p, work)
	if err != nil {
		return nil, err
	}
	r.Guest = kernel.Version
	fmt.Fprintf(stderr, "measuring %s on Linux %s, emulated\n", p.Experiment, kernel.Version)
	run := fmt.Sprintf(guestRun, filepath.Dir(b.cache), b.cache)
	done, err := kernel.On(machine...).Run(context.Background(), kernels.Guest{Files: files, Commands: []string{run, "cat /tmp/results"}, Silence: 20 * time.Minute})
	if err != nil {
		return nil, err
	}
	if done[0].Exit != 0 {
		return nil, fmt.Errorf("in the guest: %s", done[0].Output)
	}
	var found results
	if err := json.Unmarshal([]byte(done[1].Output), &found); err != nil {
		return nil, fmt.Errorf("the guest's results: %w", err)
	}
	return &found, nil
}

// guestFiles are the plan, this program, and those that it runs: all in the directories of
// contestants. work is a directory for what is made for the guest alone.
func (b builder) guestFiles(p plan, work string) (map[string]string, error) {
	p.Traces, p.Terminal = "", false
	encoded, err := json.Marshal(p)
	if err != nil {
		return nil, err
	}
	self, strace := filepath.Join(work, "bench"), filepath.Join(work, "in")
	command, err := kernels.Program("strace", strace, "strace")
	err = errors.Join(err, build.Go(b.progress, filepath.Join(b.root, "bench"), self, "."),
		os.WriteFile(filepath.Join(work, "plan"), encoded, 0o644),
		os.WriteFile(filepath.Join(work, "strace"), []byte("#!/bin/sh\nexec "+strings.Join(command, " ")+` "$@"`+"\n"), 0o755))
	if err != nil {
		return nil, err
	}
	files := map[string]string{"plan": filepath.Join(work, "plan"), "bin/bench": self, "bin/strace": filepath.Join(work, "strace"), "strace": strace}
	programs := []string{p.Launcher}
	for _, c := range p.Contestants {
		beside, err := filepath.Glob(filepath.Join(filepath.Dir(c.Plugin), "*"))
		if err != nil {
			return nil, err
		}
		programs = append(programs, beside...)
	}
	for _, program := range programs {
		name, err := filepath.Rel(b.cache, program)
		if err != nil {
			return nil, err
		}
		// A name of many is there once, as a link.
		if program, err = filepath.EvalSymlinks(program); err != nil {
			return nil, err
		}
		if info, err := os.Stat(program); err != nil || !info.Mode().IsRegular() {
			continue
		}
		files[filepath.Join("programs", name)] = program
	}
	return files, nil
}
