// SPDX-License-Identifier: Apache-2.0

package main

import (
	"cmp"
	"fmt"
	"io"
	"strings"

	"github.com/spf13/cobra"
	"github.com/swiftcni/swiftcni/cni"
)

func newVersion() *cobra.Command {
	return &cobra.Command{
		Use:   "version",
		Short: "Print the program's version and the CNI versions that it speaks",
		Args:  cobra.NoArgs,
		RunE: action(func(cmd *cobra.Command, _ []string) error {
			_, err := io.WriteString(cmd.OutOrStdout(), versionText())
			return err
		}),
	}
}

// versionText is also what --version prints.
func versionText() string {
	return fmt.Sprintf("swiftctl %s\nCNI %s\n", cmp.Or(cni.Version(), "devel"), strings.Join(cni.Versions(), ", "))
}
