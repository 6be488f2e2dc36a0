// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"

	"github.com/spf13/cobra"
	"github.com/swiftcni/swiftcni/cni"
	"github.com/swiftcni/swiftcni/internal/calls"
	"github.com/swiftcni/swiftcni/internal/process"
)

func newAttach() *cobra.Command {
	var t target
	cmd := &cobra.Command{
		Use:   "attach --id ID {--netns PATH | --pid PID} CONF",
		Short: "Attach a container to a network, and print the result",
		Long: "Attach a container to a network. The result is printed as JSON in the form of the configuration's CNI\n" +
			"version. If standard output is a terminal, it's printed as a short text.\n\n" + confHelp + stdinHelp,
		Args: oneConf(),
	}
	t.flags(cmd)
	asJSON := cmd.Flags().Bool("json", false, "print JSON on a terminal too")
	cmd.RunE = action(func(cmd *cobra.Command, args []string) error {
		a, err := t.attachment(cmd)
		if err != nil {
			return err
		}
		if err := t.exists(a); err != nil {
			return err
		}
		n, err := readConf(args[0], cmd.InOrStdin(), false)
		if err != nil {
			return err
		}
		res, err := attachRecorded(t.context(cmd), n, a)
		if err != nil {
			return advise(err)
		}
		out := cmd.OutOrStdout()
		if !*asJSON && isTerminal(out) {
			return printAttached(out, n, a, res)
		}
		return printJSON(out, res)
	})
	return cmd
}

// attachRecorded is [cni.Attach], recorded for explain.
func attachRecorded(ctx context.Context, n *cni.Network, a cni.Attachment) (*cni.Result, error) {
	call := recordCall(ctx, "ADD", n, a)
	res, err := cni.Attach(call, n, a)
	endRecord(call, err)
	return res, err
}

// detachRecorded is [cni.Detach], recorded for explain.
func detachRecorded(ctx context.Context, n *cni.Network, a cni.Attachment) error {
	call := recordCall(ctx, "DEL", n, a)
	err := cni.Detach(call, n, a)
	endRecord(call, err)
	return err
}

// recordCall begins to record a call, if recording is on. endRecord follows.
func recordCall(ctx context.Context, verb string, n *cni.Network, a cni.Attachment) *process.Call {
	return process.Record(ctx, calls.Call{Verb: verb, Plugin: n.Plugin(), Network: n.Name(), ContainerID: a.ContainerID, IfName: a.IfName,
		TraceParent: os.Getenv("TRACEPARENT")})
}

func endRecord(call *process.Call, err error) {
	var e *cni.Error
	if errors.As(err, &e) {
		call.End(e.Code, e.Error())
	} else {
		call.End(0, "")
	}
}

// exists returns the obvious errors of the namespace that is asked for.
func (t *target) exists(a cni.Attachment) error {
	if a.NetNS == "" {
		return &usageError{errors.New("--netns or --pid is needed: the container's network namespace")}
	}
	if _, err := os.Stat(a.NetNS); t.netns == "" && errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("--pid: there is no process %d", t.pid)
	}
	return nil
}

// advise adds a remedy to an error that has none.
func advise(err error) error {
	var e *cni.Error
	if errors.As(err, &e) && e.Code == cni.CodeAttached {
		return fmt.Errorf("%w; swiftctl ls shows the holders, and swiftctl detach ends an attachment", err)
	}
	return err
}

func printJSON(out io.Writer, res *cni.Result) error {
	text, err := res.MarshalJSON()
	if err != nil {
		return err
	}
	_, err = fmt.Fprintf(out, "%s\n", text)
	return err
}
