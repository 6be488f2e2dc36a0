// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"strconv"

	"github.com/spf13/cobra"
	"github.com/swiftcni/swiftcni/cni"
	"github.com/swiftcni/swiftcni/internal/process"
)

const (
	defaultIfName   = "eth0"
	defaultIPAMPath = "/opt/cni/bin"
	ipamPathHelp    = "`directory` of IPAM plugins other than host-local and static, which are built in; may be repeated"
	// maxPID is PID_MAX_LIMIT of a 64-bit kernel (linux/threads.h).
	maxPID = 4 << 20
)

// target is the attachment that a command line names.
type target struct {
	id, netns, ifName, mac string
	pid                    int
	addrs, ipamPath        []string
}

// flags gives a command the flags of a target. attach and detach share them, so that one line of a
// script serves both.
func (t *target) flags(cmd *cobra.Command) {
	f := cmd.Flags()
	f.StringVar(&t.id, "id", "", "the container's `ID`")
	f.StringVar(&t.netns, "netns", "", "`path` of the container's network namespace")
	f.IntVar(&t.pid, "pid", 0, "a `process` of the container, instead of --netns")
	f.StringVar(&t.ifName, "ifname", defaultIfName, "`name` of the link in the container")
	f.StringVar(&t.mac, "mac", "", "hardware `address` for the link in the container")
	f.StringArrayVar(&t.addrs, "ip", nil, "`address` to ask for; may be repeated")
	f.StringArrayVar(&t.ipamPath, "ipam-path", []string{defaultIPAMPath}, ipamPathHelp)
	if err := cmd.MarkFlagRequired("id"); err != nil {
		panic(err) // the flag isn't there: a mistake a few lines above
	}
}

// attachment is the target in the words of package cni, which checks the rest.
func (t *target) attachment(cmd *cobra.Command) (cni.Attachment, error) {
	if cmd.Flags().Changed("pid") && cmd.Flags().Changed("netns") {
		return cni.Attachment{}, &usageError{errors.New("--netns and --pid both name a network namespace: give one of them")}
	}
	a := cni.Attachment{ContainerID: t.id, IfName: t.ifName, NetNS: t.netns}
	if cmd.Flags().Changed("pid") {
		path, err := netnsOf(t.pid)
		if err != nil {
			return a, &usageError{fmt.Errorf("--pid: %w", err)}
		}
		a.NetNS = path
	}
	if t.mac != "" {
		mac, err := net.ParseMAC(t.mac)
		if err != nil || len(mac) != 6 {
			return a, &usageError{fmt.Errorf("--mac: %q isn't an Ethernet address", t.mac)}
		}
		a.MAC = mac
	}
	for _, text := range t.addrs {
		addr, err := netip.ParseAddr(text)
		if err != nil || addr.Zone() != "" {
			return a, &usageError{fmt.Errorf("--ip: %q isn't an IP address", text)}
		}
		a.Addrs = append(a.Addrs, addr.Unmap())
	}
	return a, nil
}

// context is a command's context, with the directories of IPAM plugins and the function that hears
// warnings.
func (t *target) context(cmd *cobra.Command) context.Context {
	return process.WithWarn(cni.WithPath(cmd.Context(), t.ipamPath...), func(text string) {
		fmt.Fprintln(cmd.ErrOrStderr(), "swiftctl: warning:", text)
	})
}

// netnsOf is the path of a process's network namespace.
func netnsOf(pid int) (string, error) {
	if pid < 1 || pid > maxPID {
		return "", fmt.Errorf("%d can't be a process ID", pid)
	}
	return "/proc/" + strconv.Itoa(pid) + "/ns/net", nil
}
