// SPDX-License-Identifier: Apache-2.0

// Package kernels runs tests on kernels other than the machine's. These are the cloud kernels of
// three releases of Debian in an emulator, and user-mode-linux, whose nf_tables has no IP families.
// The machine's kernel may lack a feature (bridge VLAN filtering), or have one that others lack
// (NLM_F_ECHO for links, from Linux 6.2).
//
// A guest boots once, runs a list of shell commands, and powers off. [Release.Kernel] and [UML]
// prepare a kernel from Debian's packages, which takes seconds the first time and nothing later.
// [Release.KernelFor] does so for other architectures, whose programs in the guest come from Debian
// too. [Kernel.Run] boots it. Both need root and amd64, and a caller whose TestMain calls box.Main.
//
// It's only for tests and benchmarks. Times in an emulated guest mean nothing, unless qemu
// counts instructions (-icount).
package kernels

import (
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"time"

	"github.com/swiftcni/swiftcni/internal/test/box"
)

// Kernel is a kernel that is ready to boot.
type Kernel struct {
	// Version is the output of uname -r in the guest.
	Version string
	// command returns the command that starts a guest. The guest has stage as its /mnt and starts
	// the script /mnt/run. work is a directory for files that the start needs. parameters are the
	// kernel's, as on its command line, and machine are qemu's.
	command    func(stage, work, parameters string, machine []string) (*exec.Cmd, error)
	parameters string
	machine    []string
}

// With returns the kernel with parameters of its command line.
func (k *Kernel) With(parameters string) *Kernel {
	with := *k
	with.parameters += " " + parameters
	return &with
}

// On returns the kernel on another machine: with more arguments of qemu's, such as "-smp", "2". Otherwise
// it has one processor and 512 MiB. user-mode-linux has no such machine.
func (k *Kernel) On(machine ...string) *Kernel {
	on := *k
	on.machine = slices.Concat(k.machine, machine)
	return &on
}

// Guest is the work of a booted kernel.
type Guest struct {
	// Files are put below /mnt: the key is the path there, the value a file or directory of this
	// machine. Programs must be static; /mnt/bin is first in PATH.
	Files map[string]string
	// Commands are scripts for dash. They run one after the other whatever their exit status, each
	// with /mnt as its directory. /run and /tmp can be written to. busybox's programs, iproute2 and
	// nft are in PATH.
	Commands []string
	// Each, if it's set, is called with each result as soon as it comes.
	Each func(Result)
	// Silence is how long the guest may print nothing before it counts as hung. Zero is for ever.
	Silence time.Duration
}

// Result is the output of one command, on both streams, and its exit status.
type Result struct {
	Output string
	Exit   int
}

// Run boots the kernel, runs the guest's commands and returns a result for each. The guest may end
// early, by a panic, a silence, or because ctx is done. Then the results so far come with an error
// that quotes the console.
func (k *Kernel) Run(ctx context.Context, g Guest) ([]Result, error) {
	work, err := os.MkdirTemp("", "swiftcni-guest-")
	if err != nil {
		return nil, err
	}
	defer os.RemoveAll(work)
	stage := filepath.Join(work, "mnt")
	mark, err := g.stage(stage)
	if err != nil {
		return nil, err
	}
	cmd, err := k.command(stage, work, k.parameters, k.machine)
	if err != nil {
		return nil, err
	}
	console := newConsole(mark, len(g.Commands))
	console.each = g.Each
	if g.Silence > 0 {
		hung, end := context.WithCancelCause(ctx)
		defer end(nil)
		alarm := time.AfterFunc(g.Silence, func() { end(fmt.Errorf("the guest printed nothing for %v", g.Silence)) })
		defer alarm.Stop()
		console.heard = func() { alarm.Reset(g.Silence) }
		ctx = hung
	}
	err = runInBox(ctx, cmd, console)
	if missing := console.missing(); missing != nil {
		return console.results, errors.Join(missing, err)
	}
	return console.results, nil
}

// runInBox runs a guest in a box, so that all its processes (user-mode-linux has many) end with
// this function.
func runInBox(ctx context.Context, guest *exec.Cmd, console io.Writer) error {
	host, err := box.Start(box.Options{})
	if err != nil {
		return err
	}
	defer host.Close()
	stop := context.AfterFunc(ctx, host.Close)
	defer stop()
	cmd := host.Command(guest.Args[0], guest.Args[1:]...)
	cmd.Stdout, cmd.Stderr = console, console
	if err := cmd.Run(); err != nil {
		return fmt.Errorf("guest: %w", errors.Join(err, context.Cause(ctx)))
	}
	return nil
}

// linkTo makes a link by the relative path, which is the same in the guest.
func linkTo(target, place string) error {
	relative, err := filepath.Rel(filepath.Dir(place), target)
	if err != nil {
		return err
	}
	if err := os.MkdirAll(filepath.Dir(place), 0o755); err != nil {
		return err
	}
	return os.Symlink(relative, place)
}

// stage lays out the guest's /mnt and returns the mark for its console.
func (g Guest) stage(dir string) (mark string, err error) {
	// A file that the guest has under many names is there once, or else all of them fill its memory.
	first := map[string]string{}
	for _, to := range slices.Sorted(maps.Keys(g.Files)) {
		from := g.Files[to]
		place := filepath.Join(dir, to)
		if at, ok := first[from]; ok {
			err = linkTo(at, place)
		} else {
			first[from], err = place, copyTree(from, place)
		}
		if err != nil {
			return "", fmt.Errorf("guest file %s: %w", to, err)
		}
	}
	commands := filepath.Join(dir, "commands")
	if err := os.MkdirAll(commands, 0o755); err != nil {
		return "", err
	}
	for i, text := range g.Commands {
		if err := os.WriteFile(filepath.Join(commands, strconv.Itoa(i)), []byte(text+"\n"), 0o644); err != nil {
			return "", err
		}
	}
	mark = newMark()
	return mark, os.WriteFile(filepath.Join(dir, "run"), []byte(runScript(mark, len(g.Commands))), 0o644)
}
