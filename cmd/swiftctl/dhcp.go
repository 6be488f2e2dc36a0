// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"errors"
	"fmt"
	"log"
	"net"
	"os"
	"os/signal"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/coreos/go-systemd/v22/activation"
	"github.com/coreos/go-systemd/v22/daemon"
	"github.com/spf13/cobra"
	"github.com/swiftcni/swiftcni/cmd/swiftctl/internal/dhcp"
	"golang.org/x/sys/unix"
)

// dhcpSocket is where the plugins look, unless a configuration names another.
const dhcpSocket = "/run/cni/dhcp.sock"

func newDHCP() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "dhcp",
		Short: "Stay, and keep the leases of the IPAM plugin dhcp",
		Long: "Ask DHCP servers for the addresses of containers whose IPAM plugin is dhcp, renew their leases, and give them back.\n" +
			"It takes the place of the reference's dhcp daemon, for its plugin as well as for swiftcni's.\n\n" +
			"The leases are kept in a file beside the socket. After a restart they are taken up again, if their containers'\n" +
			"links are still there. A lease ends with DEL, or when nobody uses the container's namespace any more. If one is\n" +
			"lost, the container's link is set down.\n\n" +
			"systemd may make the socket and start it by that. Then --socketpath only says where the file of the leases is.\n" +
			"install --units writes the units. The flags are the reference's, and may begin with a single dash.",
		Args: cobra.NoArgs,
	}
	var o dhcp.Options
	var pidFile, socket string
	f := cmd.Flags()
	f.StringVar(&pidFile, "pidfile", "", "write the number of the process to a `file`")
	f.StringVar(&o.HostPrefix, "hostprefix", "", "a `directory` in which the host's root is; it stands before the socket and the namespaces")
	f.StringVar(&socket, "socketpath", dhcpSocket, "`path` of the socket")
	f.BoolVar(&o.Broadcast, "broadcast", false, "have servers broadcast their answers")
	f.DurationVar(&o.Timeout, "timeout", dhcp.DefaultTimeout, "how long about an answer is waited for; the message is sent again three times meanwhile")
	f.DurationVar(&o.ResendMax, "resendmax", dhcp.DefaultResendMax, "the longest pause between attempts")
	f.DurationVar(&o.ResendTimeout, "resendtimeout", dhcp.DefaultResendTimeout, "how long an ADD tries")
	cmd.RunE = action(func(cmd *cobra.Command, _ []string) error {
		ctx, stop := signal.NotifyContext(cmd.Context(), unix.SIGTERM, unix.SIGINT)
		defer stop()
		if pidFile != "" && !filepath.IsAbs(pidFile) {
			return &usageError{fmt.Errorf("Error writing pidfile %q: path not absolute", pidFile)}
		}
		o.Log = log.New(os.Stderr, "swiftctl dhcp: ", 0).Printf
		return keepLeases(ctx, o, o.HostPrefix+socket, pidFile)
	})
	return cmd
}

// keepLeases serves at a path until the context ends.
func keepLeases(ctx context.Context, o dhcp.Options, path, pidFile string) error {
	l, own, err := dhcpListener(path)
	if err != nil {
		return err
	}
	defer l.Close()
	if pidFile != "" {
		if err := os.WriteFile(pidFile, []byte(strconv.Itoa(os.Getpid())), 0o644); err != nil {
			return err
		}
		defer os.Remove(pidFile)
	}
	if own {
		defer os.Remove(path)
	}
	o.State = strings.TrimSuffix(path, ".sock") + ".leases"
	d := dhcp.New(ctx, o)
	defer d.Close()
	_, _ = daemon.SdNotify(false, daemon.SdNotifyReady)
	return d.Serve(ctx, l)
}

// dhcpListener returns the socket that systemd has made for this process, else one of its own at a
// path. One that a killed daemon left there is replaced.
func dhcpListener(path string) (_ net.Listener, own bool, err error) {
	files := activation.Files(true)
	if len(files) > 1 {
		return nil, false, fmt.Errorf("systemd passes %d sockets, want 1", len(files))
	}
	if len(files) == 1 {
		defer files[0].Close()
		l, err := net.FileListener(files[0])
		return l, false, err
	}
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		return nil, false, err
	}
	c, err := net.DialTimeout("unix", path, time.Second)
	switch {
	case err == nil:
		c.Close()
		return nil, false, fmt.Errorf("another daemon listens at %s", path)
	case errors.Is(err, unix.ECONNREFUSED):
		if err := os.Remove(path); err != nil {
			return nil, false, err
		}
	}
	l, err := net.Listen("unix", path)
	if err != nil {
		return nil, false, err
	}
	l.(*net.UnixListener).SetUnlinkOnClose(false)
	return l, true, os.Chmod(path, 0o600)
}

// withTwoDashes lets the flags of dhcp begin with one dash, as the reference's do.
func withTwoDashes(args []string) []string {
	if len(args) == 0 || args[0] != "dhcp" {
		return args
	}
	list := args[:1:1]
	for _, arg := range args[1:] {
		if len(arg) > 2 && arg[0] == '-' && arg[1] != '-' {
			arg = "-" + arg
		}
		list = append(list, arg)
	}
	return list
}
