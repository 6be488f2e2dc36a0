// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bytes"
	"fmt"
	"io"
	"os"
	"strings"
	"text/tabwriter"
	"unicode/utf8"

	"github.com/swiftcni/swiftcni/cni"
	"golang.org/x/sys/unix"
)

// isTerminal reports whether a person reads the text that is written to w.
func isTerminal(w io.Writer) bool {
	f, ok := w.(*os.File)
	if !ok {
		return false
	}
	_, err := unix.IoctlGetTermios(int(f.Fd()), unix.TCGETS)
	return err == nil
}

// columns is the number of a terminal's columns. ok is false if w isn't a terminal, or doesn't
// know.
func columns(w io.Writer) (n int, ok bool) {
	f, isFile := w.(*os.File)
	if !isFile {
		return 0, false
	}
	size, err := unix.IoctlGetWinsize(int(f.Fd()), unix.TIOCGWINSZ)
	if err != nil || size.Col == 0 {
		return 0, false
	}
	return int(size.Col), true
}

// fit prints a table with the containers' whole IDs. On a terminal that is too narrow, it prints
// short IDs.
func fit(w io.Writer, show func(w io.Writer, id func(string) string) error) error {
	var b bytes.Buffer
	if err := show(&b, cell); err != nil {
		return err
	}
	if n, ok := columns(w); ok && widest(b.String()) > n {
		b.Reset()
		if err := show(&b, func(id string) string { return shortID(cell(id)) }); err != nil {
			return err
		}
	}
	_, err := w.Write(b.Bytes())
	return err
}

func widest(text string) (n int) {
	for line := range strings.Lines(text) {
		n = max(n, utf8.RuneCountInString(strings.TrimSuffix(line, "\n")))
	}
	return n
}

// shortID cuts a container's ID to the length that people use.
func shortID(id string) string {
	if len(id) > 16 {
		return id[:12] + "…"
	}
	return id
}

// printAttached shows a person the result of an attachment.
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
