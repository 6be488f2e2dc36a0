// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"github.com/swiftcni/swiftcni/cmd/swiftctl/internal/bars"
	"github.com/swiftcni/swiftcni/cmd/swiftctl/internal/box"
	"golang.org/x/sys/unix"
)

// benching is what bench is asked for.
type benching struct {
	binary, plugins string
	time            time.Duration
	rounds          int // 0: as many as there is time for
	svg             string
}

func newBench() *cobra.Command {
	var b benching
	cmd := &cobra.Command{
		Use:   "bench",
		Short: "Measure ADD and DEL on this machine, beside the plugins that it has",
		Long: "Make a host in a box, as try does, and there attach and detach a container again and again: by swiftcni, by swiftcni\n" +
			"with a resident, and by the plugins of another make that this host has. All get the same configuration, bridge\n" +
			"with masquerade, portmap with a port, and firewall. They take turns, each once in a round, in an order by chance.\n" +
			"A time is that of three processes, from the first one's start to the last one's end. Beside it stand three\n" +
			"processes that do nothing.\n\n" +
			"Other plugins are those that swiftctl install has kept as NAME" + referenceSuffix + ", or else those that this host's runtimes\n" +
			"find. They see the machine's programs, such as iptables, but their rules and files stay in the box.",
		Args: cobra.NoArgs,
	}
	f := cmd.Flags()
	f.StringVar(&b.binary, "binary", "", "`path` of the swiftcni to measure")
	f.StringVar(&b.plugins, "plugins", "", "`directory` of the plugins to compare with; those of another version of swiftcni, too")
	f.DurationVar(&b.time, "time", time.Minute, "begin no round after that `time`")
	f.IntVar(&b.rounds, "rounds", 0, "`number` of rounds, instead of a time")
	f.StringVar(&b.svg, "svg", "", "also write a picture into a `file`")
	cmd.RunE = action(func(cmd *cobra.Command, _ []string) error {
		if b.rounds < 0 || b.rounds == 0 && b.time <= 0 {
			return &usageError{errors.New("--rounds or --time: expected more than 0")}
		}
		binary, err := pluginsToTry(b.binary)
		if err != nil {
			return err
		}
		b.binary = binary
		others, label, err := otherPlugins(b.plugins)
		if err != nil {
			return err
		}
		picture, err := b.openPicture()
		if err != nil {
			return err
		}
		if !box.Inside() {
			return inBox(cmd)
		}
		return b.run(cmd.Context(), cmd.OutOrStdout(), others, label, picture)
	})
	return cmd
}

// needed are the plugins that bench calls.
var needed = [...]string{"bridge", "host-local", "portmap", "firewall"}

// otherPlugins are those of a directory, or those of another make that this host has, by name. Without any
// there is no label.
func otherPlugins(named string) (files map[string]string, label string, err error) {
	if named != "" {
		dir, err := filepath.Abs(named)
		if err != nil {
			return nil, "", err
		}
		files := map[string]string{}
		for _, name := range needed {
			files[name] = filepath.Join(dir, name)
			if _, err := os.Stat(files[name]); err != nil {
				return nil, "", err
			}
		}
		return files, dir, nil
	}
	for _, dir := range append(packagedDirs(), runtimesDirs()...) {
		for _, suffix := range []string{referenceSuffix, ""} {
			files := map[string]string{}
			for _, name := range needed {
				path := filepath.Join(dir, name+suffix)
				// What was kept was another's.
				if _, err := os.Stat(path); err == nil && (suffix != "" || !ours(path)) {
					files[name] = path
				}
			}
			if len(files) == len(needed) {
				if suffix != "" {
					dir = filepath.Join(dir, "*"+suffix)
				}
				return files, dir, nil
			}
		}
	}
	return nil, "", nil
}

// openPicture makes sure that the picture can be written, and returns its directory. The box has no other
// way to it. Without a picture it's nil.
func (b *benching) openPicture() (*os.Root, error) {
	if b.svg == "" {
		return nil, nil
	}
	dir := filepath.Dir(b.svg)
	if err := unix.Access(dir, unix.W_OK); err != nil {
		return nil, &os.PathError{Op: "write into", Path: dir, Err: err}
	}
	if info, err := os.Stat(b.svg); err == nil && info.IsDir() {
		return nil, &os.PathError{Op: "write", Path: b.svg, Err: unix.EISDIR}
	}
	return os.OpenRoot(dir)
}

// run measures in the box that this process is the first of, and shows the times.
func (b *benching) run(ctx context.Context, out io.Writer, others map[string]string, label string, picture *os.Root) error {
	c, err := b.newContest(ctx, others, label)
	if err != nil {
		return err
	}
	title := "swiftcni (" + b.binary + ") beside " + label
	if label == "" {
		title = "swiftcni (" + b.binary + ")"
	}
	fmt.Fprintln(out, title)
	if label == "" {
		fmt.Fprintln(out, "This host has no plugins of another make: --plugins names some.")
	}
	fmt.Fprintln(out, "Each round attaches and detaches a container by each: bridge with masquerade, portmap with a port, firewall.")
	before, start := readUsage(), time.Now()
	if err := c.measure(ctx, b.rounds, b.time); err != nil {
		return err
	}
	took := time.Since(start)
	if err := c.end(); err != nil {
		return err
	}
	notes := append([]string{fmt.Sprintf("%d rounds in %.0f s. Ratios are medians of the rounds' own, with 95 %% confidence.", c.rounds, took.Seconds())}, c.ratios()...)
	if note := busyNote(before); note != "" {
		notes = append(notes, note)
	}
	if err := bars.Text(out, c.groups()); err != nil {
		return err
	}
	fmt.Fprintln(out, strings.Join(notes, "\n"))
	if picture == nil {
		return nil
	}
	return writePicture(picture, filepath.Base(b.svg), title, c.groups(), notes)
}

func writePicture(dir *os.Root, name, title string, groups []bars.Group, notes []string) error {
	f, err := dir.Create(name)
	if err != nil {
		return err
	}
	return errors.Join(bars.SVG(f, title, groups, notes), f.Close())
}

// machinesDirs are those in which other plugins find the programs that they start, such as iptables.
var machinesDirs = slices.Concat(libraries[:], []string{"/bin", "/sbin", "/etc"})
