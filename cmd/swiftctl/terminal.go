// SPDX-License-Identifier: Apache-2.0

package main

import (
	"fmt"
	"io"
	"os"
	"text/tabwriter"

	"github.com/swiftcni/swiftcni/cni"
	"golang.org/x/sys/unix"
)

// isTerminal reports whether a person reads what's written to w.
func isTerminal(w io.Writer) bool {
	f, ok := w.(*os.File)
	if !ok {
		return false
	}
	_, err := unix.IoctlGetTermios(int(f.Fd()), unix.TCGETS)
	return err == nil
}

// printAttached tells a person what an attachment got.
func printAttached(w io.Writer, n *cni.Network, a cni.Attachment, res *cni.Result) error {
	fmt.Fprintf(w, "%s is attached to %s as %s\n", a.ContainerID, n.Name(), a.IfName)
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	for _, ip := range res.IPs {
		fmt.Fprintf(t, "  address\t%s", ip.Address)
		if ip.Gateway.IsValid() {
			fmt.Fprintf(t, "\tgateway %s", ip.Gateway)
		}
		fmt.Fprintln(t)
	}
	for _, r := range res.Routes {
		fmt.Fprintf(t, "  route\t%s", r.Dst)
		if r.Gateway.IsValid() {
			fmt.Fprintf(t, "\tvia %s", r.Gateway)
		}
		fmt.Fprintln(t)
	}
	for _, i := range res.Interfaces {
		where := "host"
		if i.Sandbox != "" {
			where = "container"
		}
		fmt.Fprintf(t, "  link\t%s\t%s\t%s\n", i.Name, i.MAC, where)
	}
	for _, s := range res.DNS.Nameservers {
		fmt.Fprintf(t, "  name server\t%s\n", s)
	}
	return t.Flush()
}
