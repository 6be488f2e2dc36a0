// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"debug/elf"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"slices"
	"strings"

	"github.com/spf13/cobra"
	"github.com/swiftcni/swiftcni/cmd/swiftctl/internal/box"
	"golang.org/x/sys/unix"
)

func newTry() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "try",
		Short: "Attach two containers in a box, and show what happens",
		Long: "Make a host in a box, with a router outside, attach two containers to a network by the plugins, as a runtime does,\n" +
			"and see whether they reach each other, the outside and a published port. Then show what the host has of them,\n" +
			"detach them, and see whether anything is left.\n\n" +
			"The box has namespaces and files of its own, so nothing of this machine is touched, and all of it is gone when the\n" +
			"command ends or is killed. It needs no other program, and no root where users may make namespaces. The plugins are\n" +
			"those beside swiftctl, or else those that this host's runtimes find.\n\n" +
			"The exit status is 1 if anything isn't as it should be.",
		Args: cobra.NoArgs,
	}
	named := cmd.Flags().String("binary", "", "`path` of the swiftcni to try")
	cmd.RunE = action(func(cmd *cobra.Command, _ []string) error {
		binary, err := pluginsToTry(*named)
		if err != nil {
			return err
		}
		if !box.Inside() {
			return inBox(cmd)
		}
		return try(cmd.Context(), cmd.OutOrStdout(), binary)
	})
	return cmd
}

// pluginsToTry is a file with all plugins: the named one, the one beside swiftctl, or an installed one.
func pluginsToTry(named string) (string, error) {
	if named != "" {
		if _, err := os.Stat(named); err != nil {
			return "", err
		}
		if !ours(named) {
			return "", fmt.Errorf("%s is not a swiftcni binary", named)
		}
		return filepath.Abs(named)
	}
	self, err := box.Self()
	if err != nil {
		return "", err
	}
	dirs := []string{filepath.Dir(self)}
	for _, d := range append(packagedDirs(), runtimesDirs()...) {
		if !slices.Contains(dirs, d) {
			dirs = append(dirs, d)
		}
	}
	for _, d := range dirs {
		// The archive of the plugins alone has no file of the program's own name.
		for _, name := range []string{binaryName, "bridge"} {
			if path := filepath.Join(d, name); ours(path) {
				return path, nil
			}
		}
	}
	return "", fmt.Errorf("no plugins of swiftcni in %s: --binary names them", strings.Join(dirs, ", "))
}

func packagedDirs() (dirs []string) {
	for _, path := range packagedBinaries {
		dirs = append(dirs, filepath.Dir(path))
	}
	return dirs
}

// runtimesDirs are the directories in which most runtimes, and all of this host's, look for plugins.
func runtimesDirs() []string {
	dirs := []string{defaultPluginDir}
	for _, s := range (machine{}).seekers() {
		dirs = append(dirs, s.dirs...)
	}
	return dirs
}

// exitStatus ends the program without a word more.
type exitStatus int

func (e exitStatus) Error() string { return fmt.Sprintf("exit status %d", int(e)) }

// inBox runs this command once more, inside. A signal ends the box before the command.
func inBox(cmd *cobra.Command) error {
	signals := make(chan os.Signal, 1)
	signal.Notify(signals, unix.SIGINT, unix.SIGTERM, unix.SIGHUP)
	ctx, cancel := context.WithCancelCause(cmd.Context())
	defer cancel(nil)
	go func() {
		if s, ok := (<-signals).(unix.Signal); ok {
			cancel(exitStatus(128 + int(s)))
		}
	}()
	status, err := box.Run(ctx, cmd.OutOrStdout(), cmd.ErrOrStderr())
	var ended exitStatus
	switch {
	case errors.As(context.Cause(ctx), &ended):
		return ended
	case err != nil:
		return err
	case status != 0:
		return exitStatus(status)
	}
	return nil
}

// pluginDir is where a box has its plugins.
const pluginDir = defaultPluginDir

// libraries are the directories in which programs that aren't static have their loader and libraries.
var libraries = [...]string{"/lib", "/lib64", "/usr", "/nix/store", "/gnu/store"}

// isDynamic reports whether a program names a loader, as one that a distribution builds may do.
func isDynamic(path string) bool {
	f, err := elf.Open(path)
	if err != nil {
		return false
	}
	defer f.Close()
	return slices.ContainsFunc(f.Progs, func(p *elf.Prog) bool { return p.Type == elf.PT_INTERP })
}

// addExisting adds those of the machine's directories that exist to a box's files.
func addExisting(files map[string]string, dirs []string) {
	for _, d := range existing(dirs, false) {
		files[d] = d
	}
}
