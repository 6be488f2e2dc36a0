// SPDX-License-Identifier: Apache-2.0

package main

import (
	"cmp"
	"fmt"
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
			_, err := fmt.Fprintf(cmd.OutOrStdout(), "swiftctl %s\nCNI %s\n", cmp.Or(cni.Version(), "devel"), strings.Join(cni.Versions(), ", "))
			return err
		}),
	}
}
