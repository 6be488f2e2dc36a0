// SPDX-License-Identifier: Apache-2.0

package nft

import (
	"slices"
	"strings"

	"github.com/mdlayher/netlink"
	"golang.org/x/sys/unix"
)

// options names the kernel's options (net/netfilter/Kconfig and its siblings) and version that a message
// needs beyond NF_TABLES and Linux 4.18. The kernel answers ENOENT whichever of them is missing.
func options(m netlink.Message) string {
	if len(m.Data) < genMessageLen {
		return ""
	}
	family, body := m.Data[0], m.Data[genMessageLen:]
	var list []string
	switch m.Header.Type {
	case messageType(unix.NFT_MSG_NEWTABLE):
		list = familyOptions(family)
	case messageType(unix.NFT_MSG_NEWCHAIN):
		if kind, _ := attribute(body, unix.NFTA_CHAIN_TYPE); strings.TrimRight(string(kind), "\x00") == "nat" {
			list = []string{"CONFIG_NFT_NAT"}
			if family == unix.NFPROTO_INET {
				list = append(list, "Linux 5.2")
			}
		}
	case messageType(unix.NFT_MSG_NEWRULE):
		exprs, _ := attribute(body, unix.NFTA_RULE_EXPRESSIONS)
		for as := (attributes{rest: exprs}); as.next(); {
			name, _ := attribute(as.value, unix.NFTA_EXPR_NAME)
			option := expressionOption(family, strings.TrimRight(string(name), "\x00"))
			if option != "" && !slices.Contains(list, option) {
				list = append(list, option)
			}
		}
	}
	return strings.Join(list, ", ")
}

func familyOptions(family byte) []string {
	switch family {
	case unix.NFPROTO_INET:
		return []string{"CONFIG_NF_TABLES_INET"}
	case unix.NFPROTO_BRIDGE:
		return []string{"CONFIG_NF_TABLES_BRIDGE"}
	case unix.NFPROTO_IPV4:
		return []string{"CONFIG_NF_TABLES_IPV4"}
	case unix.NFPROTO_IPV6:
		return []string{"CONFIG_NF_TABLES_IPV6"}
	}
	return nil
}

// expressionOption is the option of a kind of expression; the core has the others.
func expressionOption(family byte, name string) string {
	switch name {
	case "nat":
		return "CONFIG_NFT_NAT"
	case "masq":
		return "CONFIG_NFT_MASQ"
	case "ct":
		return "CONFIG_NFT_CT"
	case "fib":
		switch family {
		case unix.NFPROTO_IPV4:
			return "CONFIG_NFT_FIB_IPV4"
		case unix.NFPROTO_IPV6:
			return "CONFIG_NFT_FIB_IPV6"
		}
		return "CONFIG_NFT_FIB_INET"
	case "meta":
		if family == unix.NFPROTO_BRIDGE { // a module of its own replaces the core's
			return "CONFIG_NFT_BRIDGE_META"
		}
	case "match", "target":
		return "CONFIG_NFT_COMPAT"
	}
	return ""
}
