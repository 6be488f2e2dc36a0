// SPDX-License-Identifier: Apache-2.0

package main

import (
	"cmp"
	"fmt"
	"slices"

	"github.com/swiftcni/swiftcni/nft"
)

// keepers are programs that listen at the ports that they publish, so that no other program takes
// them.
var keepers = []string{"conmon", "podman", "crio", "kubelet", "docker-proxy", "dockerd", "rootlessport", "nerdctl", "containerd-shim", "slirp4netns", "pasta"}

// rivals looks for other users of a published port.
func (x *examination) rivals(h *held, p port) error {
	is4 := p.ContainerIP.Is4()
	dst := p.HostIP
	if !dst.IsValid() || dst.IsUnspecified() {
		dst = x.host.addrs[is4]
	}
	if !dst.IsValid() || dst.IsLoopback() {
		return nil
	}
	what := fmt.Sprintf("%s port %d", p.Protocol, p.HostPort)
	to := nft.Packet{In: x.host.uplinks[is4], Dst: dst, Protocol: p.protocol, Port: p.HostPort}
	if rule := x.filters.Translates(to); rule != "" {
		x.add("port-conflict", h.Network, h.who(), what+" leads to "+p.ContainerIP.String()+", and by the rule "+rule+" elsewhere: one of the two gets no packets",
			"publish one of them at another port, or: nft delete rule "+rule)
	}
	list, err := x.listeners()
	i := slices.IndexFunc(list, func(l listener) bool {
		return l.protocol == p.Protocol && l.port == p.HostPort && (l.addr.IsUnspecified() && (l.addr.Is6() || is4) || l.addr == dst) && !slices.Contains(keepers, l.program)
	})
	if i >= 0 {
		l := list[i]
		x.add("port-conflict", h.Network, h.who(), fmt.Sprintf("%s (process %d) listens at %s, and gets no packets from outside: they go to %s", l.program, l.pid, what, p.ContainerIP),
			fmt.Sprintf("publish another port, or: kill %d", l.pid))
	}
	return err
}

// listeners reads the listeners once.
func (x *examination) listeners() ([]listener, error) {
	if x.listening != nil {
		return *x.listening, nil
	}
	list, err := readListeners()
	slices.SortFunc(list, func(a, b listener) int { return cmp.Or(cmp.Compare(a.port, b.port), cmp.Compare(a.pid, b.pid)) })
	x.listening = &list
	return list, err
}
