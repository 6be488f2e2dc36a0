// SPDX-License-Identifier: Apache-2.0

package main

import (
	"fmt"
	"io"
	"os"
	"path/filepath"

	"github.com/spf13/cobra"
	"github.com/swiftcni/swiftcni/cni"
)

// binaryName is the file that all plugin names lead to.
const binaryName = "swiftcni"

const installHelp = "Put swiftcni into DIR and link every plugin's name to it. Each file is replaced in one step, so plugins may\n" +
	"be called meanwhile, and a second call changes nothing. Other programs' files are left alone unless --force is\n" +
	"given. Then the first one of a name is kept as NAME.reference.\n\n" +
	"--uninstall removes the plugins from DIR again, and puts each NAME.reference back, so that no name is missing\n" +
	"meanwhile. What others have put there since then stays. Containers keep their networks, and the former plugins\n" +
	"can detach them. Before units are removed, systemctl disable --now swiftcni.socket ends the resident.\n\n" +
	"Without DIR it's " + defaultPluginDir + ". It's also " + firstPluginDir + " if podman would find other plugins first,\n" +
	"such as those of Debian's packages in /usr/lib/cni. If podman, containerd or CRI-O of this host still finds\n" +
	"plugins in other directories, by its configuration, a message says what to do.\n\n" +
	"--units also writes the units with which systemd starts the resident, for this swiftctl, and the exporter, if\n" +
	"swiftcni-exporter is beside it. They aren't enabled:\n" +
	"systemctl enable --now swiftcni.socket does that."

func newInstall() *cobra.Command {
	in := installer{names: cni.PluginNames()}
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
	uninstall := f.Bool("uninstall", false, "remove the plugins, and put the former ones back")
	unitDir := f.String("units", "", "also write the units of systemd into a `directory`, such as /etc/systemd/system")
	cmd.RunE = action(func(cmd *cobra.Command, args []string) error {
		self, err := os.Executable()
		if err != nil {
			return fmt.Errorf("find this program's file: %w", err)
		}
		if in.binary == "" {
			in.binary = binaryOf(self)
		}
		in.out = cmd.OutOrStdout()
		dirs := args
		if len(dirs) == 0 {
			dirs = installDirs(seekers(), in.names)
		}
		if *uninstall {
			return in.eachPlace(dirs, in.undo, *unitDir, func() error { return in.removeUnits(*unitDir, self) })
		}
		if err := in.eachPlace(dirs, in.run, *unitDir, func() error { return in.putUnits(*unitDir, self) }); err != nil {
			return err
		}
		return tellUnreached(cmd.ErrOrStderr(), dirs[0], in.names)
	})
	return cmd
}

// eachPlace does one thing in each directory, and another with the units if they have one.
func (in *installer) eachPlace(dirs []string, plugins func() error, unitDir string, units func() error) error {
	for _, in.dir = range dirs {
		if err := plugins(); err != nil {
			return err
		}
	}
	if unitDir == "" {
		return nil
	}
	return units()
}

// tellUnreached says which runtimes find other plugins than those in a directory, and what else is left to
// do.
func tellUnreached(w io.Writer, dir string, names []string) error {
	dir, err := filepath.Abs(dir)
	if err != nil {
		return err
	}
	for _, advice := range unreached(seekers(), dir, names) {
		fmt.Fprintln(w, "swiftctl install: "+advice)
	}
	if text := legacyAdvice(); text != "" {
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
