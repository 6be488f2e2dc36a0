// SPDX-License-Identifier: Apache-2.0

package main

import (
	"fmt"
	"os"
	"path/filepath"

	"github.com/spf13/cobra"
	"github.com/swiftcni/swiftcni/cni"
)

// binaryName is the file that all plugin names lead to.
const binaryName = "swiftcni"

func newInstall() *cobra.Command {
	in := installer{names: cni.PluginNames()}
	cmd := &cobra.Command{
		Use:   "install DIR",
		Short: "Install the plugins into a directory, one binary and a link for each name",
		Long: "Put swiftcni into DIR and link every plugin's name to it. Each file is replaced in one step, so plugins may\n" +
			"be called meanwhile, and a second call changes nothing. Files of others are left alone unless --force is\n" +
			"given; then the first one of a name is kept as NAME.reference.",
		Args: one("DIR, the directory of plugins"),
	}
	f := cmd.Flags()
	f.StringVar(&in.binary, "binary", "", "`path` of the swiftcni to install (default: the one beside swiftctl)")
	f.BoolVar(&in.copy, "copy", false, "make hard links, or copies where there are none, in place of symbolic links")
	f.BoolVar(&in.force, "force", false, "replace files of others too")
	cmd.RunE = action(func(cmd *cobra.Command, args []string) error {
		if in.binary == "" {
			self, err := os.Executable()
			if err != nil {
				return fmt.Errorf("find swiftcni beside swiftctl: %w", err)
			}
			in.binary = filepath.Join(filepath.Dir(self), binaryName)
		}
		in.dir, in.out = args[0], cmd.OutOrStdout()
		return in.run()
	})
	return cmd
}
