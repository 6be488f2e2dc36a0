// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"path/filepath"

	"github.com/spf13/cobra"
	"github.com/swiftcni/swiftcni/cni"
	"github.com/swiftcni/swiftcni/internal/process"
)

func newHook() *cobra.Command {
	var h hook
	var logPath string
	cmd := &cobra.Command{
		Use:   "hook CONF",
		Short: "Attach or detach the container of an OCI runtime, as its hook",
		Long: `Attach or detach the container whose state is on standard input. In config.json the same hook goes into
createRuntime (or prestart) and poststop:

  "hooks": { "createRuntime": [ HOOK ], "poststop": [ HOOK ] }
  HOOK = { "path": "/usr/local/bin/swiftctl", "args": ["swiftctl", "hook", "/etc/cni/net.d/my.conflist"], "timeout": 10 }

When the container is created it's attached, and /etc/resolv.conf in its root is replaced by the result's dns, if
that has any content. When the container has stopped it's detached. If attaching fails nothing is left. If the root
is mounted read-only, or if config.json mounts something over the file, the container keeps its resolv.conf, and
there is a warning.

` + confHelp + ` Its path is absolute, since runtimes
start hooks in different directories.`,
		Args: oneConf(),
	}
	f := cmd.Flags()
	f.StringVar(&h.ifName, "ifname", defaultIfName, "`name` of the link in the container")
	f.StringArrayVar(&h.ipamPath, "ipam-path", []string{defaultIPAMPath}, ipamPathHelp)
	f.StringVar(&logPath, "log", "", "log `file`, with a line for each call: runtimes show little of the output of hooks")
	cmd.RunE = action(func(cmd *cobra.Command, args []string) error {
		if !filepath.IsAbs(args[0]) {
			return &usageError{fmt.Errorf("CONF is %q, expected an absolute path", args[0])}
		}
		h.stderr = cmd.ErrOrStderr()
		var err error
		if h.log, err = openLog(logPath); err != nil {
			h.warn("no log: " + err.Error()) // which is no reason to keep a container from starting
		}
		defer h.log.close()
		return h.run(cmd.Context(), cmd.InOrStdin(), args[0])
	})
	return cmd
}

// hook is one call by a runtime.
type hook struct {
	ifName   string
	ipamPath []string
	stderr   io.Writer
	log      hookLog
}

func (h *hook) warn(msg string) {
	fmt.Fprintln(h.stderr, "swiftctl hook: warning:", msg)
	h.log.Warn(msg)
}

func (h *hook) run(ctx context.Context, stdin io.Reader, path string) error {
	s, err := readState(stdin)
	if err != nil {
		h.log.Error(err.Error())
		return err
	}
	h.log.Logger = h.log.With("container", s.ID, "status", s.Status)
	if err := h.serve(ctx, s, path); err != nil {
		h.log.Error(err.Error())
		return fmt.Errorf("container %s: %w", s.ID, err)
	}
	return nil
}

func (h *hook) serve(ctx context.Context, s *state, path string) error {
	n, err := readConf(path, nil, !s.attaches())
	if err != nil {
		return err
	}
	a := cni.Attachment{ContainerID: s.ID, IfName: h.ifName}
	ctx = process.WithWarn(cni.WithPath(ctx, h.ipamPath...), h.warn)
	if s.attaches() {
		return h.attach(ctx, s, n, a)
	}
	if err := detachRecorded(ctx, n, a); err != nil {
		return err
	}
	h.log.Info("detached", "network", n.Name(), "ifname", h.ifName)
	return nil
}

// attach opens everything that it needs before it changes anything.
func (h *hook) attach(ctx context.Context, s *state, n *cni.Network, a cni.Attachment) (err error) {
	if a.NetNS, err = netnsOf(s.PID); err != nil {
		return err
	}
	b, err := readBundle(s.Bundle)
	if err != nil {
		return err
	}
	root, err := openRootfs(b.rootPath(s.Bundle))
	if err != nil {
		return fmt.Errorf("root of the bundle: %w", err)
	}
	defer root.close()
	res, err := attachRecorded(ctx, n, a)
	if err != nil {
		return err
	}
	if err := h.resolve(root, b, res.DNS); err != nil {
		// The runtime may not call the hook again for a container that it couldn't create: crun
		// doesn't.
		return errors.Join(err, detachRecorded(ctx, n, a))
	}
	h.log.Info("attached", "network", n.Name(), "ifname", h.ifName, "pid", s.PID, "addresses", addresses(res))
	return nil
}

// resolve writes the container's resolv.conf, if the result has anything for it.
func (h *hook) resolve(root *rootfs, b *bundle, dns cni.DNS) error {
	text, err := resolvConf(dns)
	if err != nil || text == "" {
		return err
	}
	if mount, covered := b.coversResolvConf(); covered {
		h.warn("resolv.conf is left alone: config.json mounts something on " + mount)
		return nil
	}
	err = root.writeResolvConf(text)
	if errors.Is(err, errReadOnly) {
		h.warn("the container keeps its resolv.conf: " + err.Error())
		return nil
	}
	return err
}

func addresses(res *cni.Result) (list []string) {
	for _, ip := range res.IPs {
		list = append(list, ip.Address.String())
	}
	return list
}
