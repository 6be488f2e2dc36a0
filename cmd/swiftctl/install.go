// SPDX-License-Identifier: Apache-2.0

package main

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/spf13/cobra"
	"github.com/swiftcni/swiftcni/cni"
	"golang.org/x/sys/unix"
)

// binaryName is the file that all plugin names lead to.
const binaryName = "swiftcni"

const installHelp = "Put swiftcni into DIR and link every plugin's name to it. Each file is replaced in one step, so plugins may\n" +
	"be called meanwhile, and a second call changes nothing. Other programs' files are left alone unless --force is\n" +
	"given. Then the first one of a name is kept as NAME.reference.\n\n" +
	"--uninstall removes the plugins from DIR again, and puts each NAME.reference back, so that no name is missing\n" +
	"meanwhile. What others have put there since then stays. Containers keep their networks, and the former plugins\n" +
	"can detach them. Before units are removed, systemctl disable --now swiftcni.socket ends the resident.\n\n" +
	"Without DIR it's where the runtimes of this host look: " + defaultPluginDir + ", where most do, and others in which a runtime\n" +
	"would find other plugins first. Each is named with its reason. The lists come from the configurations of podman,\n" +
	"containerd, CRI-O, cri-dockerd, Nomad, nerdctl, BuildKit, k0s, k3s, RKE2 and MicroK8s. Nothing is changed in any\n" +
	"of them if another program's file is in the way. A message names each runtime that finds other plugins yet: without\n" +
	"--force, a directory of others that isn't " + defaultPluginDir + " is left alone.\n" +
	"--uninstall without DIR means each of those that has the plugins.\n\n" +
	"A file gets the SELinux label of the one that it replaces.\n\n" +
	"--units also writes the units with which systemd starts the resident, for this swiftctl, and the exporter, if\n" +
	"swiftcni-exporter is beside it. They aren't enabled:\n" +
	"systemctl enable --now swiftcni.socket does that."

// installation is a call of install: in some directories of a host, with or without units.
type installation struct {
	installer
	machine   machine
	seekers   []seeker
	unitDir   string
	uninstall bool
	aliasArgs []string
}

func newInstall() *cobra.Command {
	in := installation{installer: installer{names: cni.PluginNames()}}
	cmd := &cobra.Command{
		Use:   "install [DIR]",
		Short: "Install the plugins into a directory, one binary and a link for each name",
		Long:  installHelp,
		Args: func(_ *cobra.Command, args []string) error {
			if len(args) > 1 {
				return one("DIR, the directory of plugins")(nil, args)
			}
			return nil
		},
	}
	f := cmd.Flags()
	f.StringVar(&in.binary, "binary", "", "`path` of the swiftcni to install (default: the one beside swiftctl, or a package's)")
	f.BoolVar(&in.copy, "copy", false, "make hard links, or copies if that fails, instead of symbolic links")
	f.BoolVar(&in.force, "force", false, "replace other programs' files too")
	f.BoolVarP(&in.dry, "dry-run", "n", false, "say what would be changed, and change nothing")
	f.BoolVar(&in.uninstall, "uninstall", false, "remove the plugins, and put the former ones back")
	f.StringVar(&in.unitDir, "units", "", "also write the units of systemd into a `directory`, such as /etc/systemd/system")
	f.StringArrayVar(&in.aliasArgs, "alias", nil, "also link another name, `NAME=PLUGIN`; may be repeated")
	f.StringVar(&in.machine.root, "root", "", "root `directory` of the host, if it's mounted elsewhere; DIR and configurations are below it")
	cmd.RunE = action(func(cmd *cobra.Command, args []string) error {
		self, err := os.Executable()
		if err != nil {
			return fmt.Errorf("find this program's file: %w", err)
		}
		if in.binary == "" {
			in.binary = binaryOf(self)
		}
		if in.aliases, err = parseAliases(in.aliasArgs, in.names); err != nil {
			return err
		}
		in.out = cmd.OutOrStdout()
		in.seekers = in.machine.seekers()
		w := cmd.ErrOrStderr()
		if in.uninstall {
			err = in.remove(args, self)
		} else {
			err = in.put(w, args, self)
		}
		if in.dry && err == nil {
			// What it prints is to the letter what the real run prints.
			fmt.Fprintln(w, "this was a dry run: nothing has been changed")
		}
		return err
	})
	return cmd
}

// put installs in all directories or, if something is in the way in one of them, in none. It says on
// w what else is left to do.
func (in *installation) put(w io.Writer, dirs []string, self string) error {
	l := search{in.machine, in.seekers, in.names, in.binary}
	if err := errors.Join(in.checkBinary(), in.checkUnits(self)); err != nil {
		return err
	}
	if len(dirs) == 0 {
		if dirs = l.dirs(in.force); len(dirs) == 0 {
			fmt.Fprintln(in.out, "nothing to install: every runtime of this host finds the package's plugins")
		}
	}
	reasons := map[string]string{}
	var obstacles []error
	if err := in.each(dirs, func(dir string) error {
		if len(in.seekers) > 0 {
			reasons[dir] = fmt.Sprintf("%-10s %s: %s\n", "directory", dir, l.reason(l.clean(dir)[0], l.clean(dirs...)))
		}
		obstacles = append(obstacles, in.check())
		return nil
	}); err != nil {
		return err
	}
	if err := errors.Join(obstacles...); err != nil {
		for _, dir := range dirs {
			fmt.Fprint(in.out, reasons[dir])
		}
		return err
	}
	if err := in.each(dirs, func(dir string) error {
		fmt.Fprint(in.out, reasons[dir])
		return in.run()
	}); err != nil {
		return err
	}
	if in.unitDir != "" {
		if err := in.putUnits(in.machine.path(in.unitDir), self); err != nil {
			return err
		}
	}
	return tell(w, l.unreached(l.clean(dirs...)), in.machine)
}

// remove takes the plugins out of all directories that have them, or of the ones that are named.
func (in *installation) remove(dirs []string, self string) error {
	if err := in.checkUnits(self); err != nil {
		return err
	}
	if len(dirs) == 0 {
		if dirs = (search{in.machine, in.seekers, in.names, in.binary}).installed(); len(dirs) == 0 {
			fmt.Fprintln(in.out, "nothing to remove: swiftctl has installed no plugins where runtimes look")
		}
	}
	if err := in.each(dirs, func(string) error { return in.undo() }); err != nil || in.unitDir == "" {
		return err
	}
	return in.removeUnits(in.machine.path(in.unitDir), self)
}

// checkUnits reports what prevents units, before anything else is changed.
func (in *installation) checkUnits(self string) error {
	if in.unitDir == "" {
		return nil
	}
	if _, err := unitTexts(self); err != nil {
		return err
	}
	if err := in.machine.within(in.unitDir); err != nil {
		return err
	}
	info, err := os.Stat(in.machine.path(in.unitDir))
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil
	case err == nil && !info.IsDir():
		err = &os.PathError{Op: "write into", Path: in.machine.path(in.unitDir), Err: unix.ENOTDIR}
	}
	return err
}

// within reports a directory that a link leads out of the root directory.
func (m machine) within(dirs ...string) error {
	if m.root == "" {
		return nil
	}
	root, err := os.OpenRoot(m.root)
	if err != nil {
		return err
	}
	defer root.Close()
	for _, dir := range dirs {
		if _, err := root.Stat(strings.TrimPrefix(filepath.Clean("/"+dir), "/")); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
	}
	return nil
}

// each does something with the installer in each directory. It does nothing if a link leads out of
// the root directory.
func (in *installation) each(dirs []string, do func(dir string) error) error {
	if err := in.machine.within(dirs...); err != nil {
		return err
	}
	for _, dir := range dirs {
		if in.dir = dir; in.machine.root != "" {
			in.dir = in.machine.path(dir)
		}
		if err := do(dir); err != nil {
			return err
		}
	}
	return nil
}

// tell says what else is left to do.
func tell(w io.Writer, advice []string, m machine) error {
	if text := legacyAdvice(); m.root == "" && text != "" {
		advice = append(advice, text)
	}
	for _, text := range advice {
		fmt.Fprintln(w, "swiftctl install: "+text)
	}
	return nil
}

// packagedBinaries are where packages of distributions have the plugins.
var packagedBinaries = [...]string{"/usr/lib/cni/" + binaryName, "/usr/libexec/cni/" + binaryName}

// binaryOf is the plugins' program that came with this one: beside it, or where a package has both.
func binaryOf(self string) string {
	beside := filepath.Join(filepath.Dir(self), binaryName)
	for _, path := range append([]string{beside}, packagedBinaries[:]...) {
		if _, err := os.Stat(path); err == nil {
			return path
		}
	}
	return beside // whose absence the caller reports
}
