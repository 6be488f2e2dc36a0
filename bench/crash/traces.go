// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"
)

// rules are the policy routing rules that were added (struct fib_rule_hdr, linux/fib_rules.h).
func (s snapshot) rules(where string, _ map[int]string) error {
	return dump(unix.RTM_GETRULE, 12, func(m syscall.NetlinkMessage, attrs map[uint16][]byte) {
		table := uint32(m.Data[4])
		if t := attrs[unix.FRA_TABLE]; len(t) == 4 {
			table = binary.NativeEndian.Uint32(t)
		}
		if table >= unix.RT_TABLE_DEFAULT && table <= unix.RT_TABLE_LOCAL {
			return
		}
		text := ""
		if src, ok := netip.AddrFromSlice(attrs[unix.FRA_SRC]); ok {
			text = " from " + netip.PrefixFrom(src, int(m.Data[2])).String()
		}
		if dst, ok := netip.AddrFromSlice(attrs[unix.FRA_DST]); ok {
			text += " to " + netip.PrefixFrom(dst, int(m.Data[1])).String()
		}
		s[fmt.Sprintf("%s rule%s table %d", where, text, table)] = true
	})
}

// queues are the queueing disciplines that limit links (struct tcmsg, linux/rtnetlink.h).
func (s snapshot) queues(where string, names map[int]string) error {
	return dump(unix.RTM_GETQDISC, 20, func(m syscall.NetlinkMessage, attrs map[uint16][]byte) {
		kind := string(bytes.TrimRight(attrs[1], "\x00")) // TCA_KIND
		if kind == "tbf" || kind == "ingress" || kind == "clsact" {
			s[where+" qdisc "+kind+" on "+names[int(binary.NativeEndian.Uint32(m.Data[4:]))]] = true
		}
	})
}

// sysctls are those that a plugin may write.
func (s snapshot) sysctls(where string) {
	patterns := []string{"core/somaxconn"}
	if where == "host" {
		for _, key := range []string{"forwarding", "route_localnet", "rp_filter", "proxy_arp", "arp_*"} {
			for _, link := range []string{"all", "default", "cnibr*"} {
				patterns = append(patterns, "ipv4/conf/"+link+"/"+key)
			}
		}
		patterns = append(patterns, "ipv4/ip_forward", "ipv6/conf/all/forwarding")
	}
	for _, pattern := range patterns {
		files, _ := filepath.Glob("/proc/sys/net/" + pattern) // the pattern is ours
		for _, file := range files {
			text, err := os.ReadFile(file)
			if err == nil {
				name := strings.ReplaceAll(strings.TrimPrefix(file, "/proc/sys/"), "/", ".")
				s[where+" sysctl "+name+" = "+strings.TrimSpace(string(text))] = true
			}
		}
	}
}
