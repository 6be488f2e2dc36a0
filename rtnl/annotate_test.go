// SPDX-License-Identifier: Apache-2.0

package rtnl

import (
	"encoding/binary"
	"fmt"
	"strings"

	"golang.org/x/sys/unix"
)

// annotate prints a batch as its changes and, below each, the bytes of its message, four a line
// with what they are.
func annotate(b *Batch) string {
	var s strings.Builder
	for i := range b.steps {
		fmt.Fprintf(&s, "%s\n", b.change(i))
		annotateMessage(&s, b.message(i))
		s.WriteByte('\n')
	}
	return s.String()
}

var messageNames = map[uint16]string{
	unix.RTM_NEWLINK: "RTM_NEWLINK", unix.RTM_SETLINK: "RTM_SETLINK", unix.RTM_DELLINK: "RTM_DELLINK",
	unix.RTM_NEWLINKPROP: "RTM_NEWLINKPROP", unix.RTM_DELLINKPROP: "RTM_DELLINKPROP",
	unix.RTM_NEWADDR: "RTM_NEWADDR", unix.RTM_DELADDR: "RTM_DELADDR",
	unix.RTM_NEWROUTE: "RTM_NEWROUTE", unix.RTM_DELROUTE: "RTM_DELROUTE",
	unix.RTM_NEWNEIGH: "RTM_NEWNEIGH", unix.RTM_DELNEIGH: "RTM_DELNEIGH",
	unix.RTM_NEWQDISC: "RTM_NEWQDISC", unix.RTM_DELQDISC: "RTM_DELQDISC",
	unix.RTM_NEWTFILTER: "RTM_NEWTFILTER", unix.RTM_DELTFILTER: "RTM_DELTFILTER",
	unix.RTM_NEWRULE: "RTM_NEWRULE", unix.RTM_DELRULE: "RTM_DELRULE",
}

// tcmsg is the header of both QDISC and TFILTER.
var tcmsg = []string{"family", "index", "handle", "parent", "info"}

// layouts are the fixed headers, a name per four bytes, and the names of attributes by their
// parents'.
var layouts = map[string]struct {
	words []string
	attrs map[int]string
}{
	"LINK": {[]string{"family", "index", "flags", "change"}, map[int]string{
		unix.IFLA_IFNAME: "IFLA_IFNAME", unix.IFLA_ADDRESS: "IFLA_ADDRESS", unix.IFLA_MTU: "IFLA_MTU", unix.IFLA_TXQLEN: "IFLA_TXQLEN",
		unix.IFLA_MASTER: "IFLA_MASTER", unix.IFLA_GROUP: "IFLA_GROUP", unix.IFLA_NUM_TX_QUEUES: "IFLA_NUM_TX_QUEUES",
		unix.IFLA_NUM_RX_QUEUES: "IFLA_NUM_RX_QUEUES", unix.IFLA_NET_NS_FD: "IFLA_NET_NS_FD",
		unix.IFLA_LINK: "IFLA_LINK", unix.IFLA_IFALIAS: "IFLA_IFALIAS", unix.IFLA_LINKINFO: "IFLA_LINKINFO", unix.IFLA_AF_SPEC: "IFLA_AF_SPEC",
	}},
	"IFLA_LINKINFO": {nil, map[int]string{
		unix.IFLA_INFO_KIND: "IFLA_INFO_KIND", unix.IFLA_INFO_DATA: "IFLA_INFO_DATA",
		unix.IFLA_INFO_SLAVE_KIND: "IFLA_INFO_SLAVE_KIND", unix.IFLA_INFO_SLAVE_DATA: "IFLA_INFO_SLAVE_DATA",
	}},
	"veth": {nil, map[int]string{vethInfoPeer: "VETH_INFO_PEER"}},
	"bridge": {nil, map[int]string{
		unix.IFLA_BR_AGEING_TIME: "IFLA_BR_AGEING_TIME", unix.IFLA_BR_VLAN_FILTERING: "IFLA_BR_VLAN_FILTERING",
		unix.IFLA_BR_GROUP_FWD_MASK: "IFLA_BR_GROUP_FWD_MASK", unix.IFLA_BR_MCAST_SNOOPING: "IFLA_BR_MCAST_SNOOPING",
	}},
	"macvlan": {nil, map[int]string{
		unix.IFLA_MACVLAN_MODE: "IFLA_MACVLAN_MODE", unix.IFLA_MACVLAN_BC_QUEUE_LEN: "IFLA_MACVLAN_BC_QUEUE_LEN",
	}},
	"ipvlan": {nil, map[int]string{unix.IFLA_IPVLAN_MODE: "IFLA_IPVLAN_MODE"}},
	"vlan":   {nil, map[int]string{unix.IFLA_VLAN_ID: "IFLA_VLAN_ID"}},
	"vrf":    {nil, map[int]string{unix.IFLA_VRF_TABLE: "IFLA_VRF_TABLE"}},
	"LINKPROP": {[]string{"family", "index", "flags", "change"}, map[int]string{
		unix.IFLA_PROP_LIST: "IFLA_PROP_LIST",
	}},
	"IFLA_PROP_LIST": {nil, map[int]string{unix.IFLA_ALT_IFNAME: "IFLA_ALT_IFNAME"}},
	"IFLA_INFO_SLAVE_DATA": {nil, map[int]string{
		unix.IFLA_BRPORT_MODE: "IFLA_BRPORT_MODE", unix.IFLA_BRPORT_ISOLATED: "IFLA_BRPORT_ISOLATED",
		unix.IFLA_BRPORT_LEARNING: "IFLA_BRPORT_LEARNING", unix.IFLA_BRPORT_UNICAST_FLOOD: "IFLA_BRPORT_UNICAST_FLOOD",
		unix.IFLA_BRPORT_MCAST_FLOOD: "IFLA_BRPORT_MCAST_FLOOD",
	}},
	"IFLA_AF_SPEC": {nil, map[int]string{unix.AF_INET: "AF_INET", unix.AF_INET6: "AF_INET6"}},
	"AF_INET":      {nil, map[int]string{unix.IFLA_INET_CONF: "IFLA_INET_CONF"}},
	"AF_INET6":     {nil, map[int]string{unix.IFLA_INET6_ADDR_GEN_MODE: "IFLA_INET6_ADDR_GEN_MODE"}},
	"IFLA_INET_CONF": {nil, map[int]string{
		devconfARPNotify: "IPV4_DEVCONF_ARP_NOTIFY", devconfRouteLocalnet: "IPV4_DEVCONF_ROUTE_LOCALNET",
	}},
	"PORTVLAN":                 {[]string{"family", "index", "flags", "change"}, map[int]string{unix.IFLA_AF_SPEC: "IFLA_AF_SPEC of a bridge"}},
	"IFLA_AF_SPEC of a bridge": {nil, map[int]string{iflaBridgeVLANInfo: "IFLA_BRIDGE_VLAN_INFO"}},
	"ADDR": {[]string{"family, prefix length, flags, scope", "index"}, map[int]string{
		unix.IFA_LOCAL: "IFA_LOCAL", unix.IFA_ADDRESS: "IFA_ADDRESS", unix.IFA_BROADCAST: "IFA_BROADCAST", unix.IFA_FLAGS: "IFA_FLAGS",
	}},
	"ROUTE": {[]string{"family, lengths of dst and src, tos", "table, protocol, scope, type", "flags"}, map[int]string{
		unix.RTA_DST: "RTA_DST", unix.RTA_GATEWAY: "RTA_GATEWAY", unix.RTA_OIF: "RTA_OIF", unix.RTA_PRIORITY: "RTA_PRIORITY",
		unix.RTA_TABLE: "RTA_TABLE", unix.RTA_PREFSRC: "RTA_PREFSRC", unix.RTA_METRICS: "RTA_METRICS", unix.RTA_EXPIRES: "RTA_EXPIRES",
	}},
	"RTA_METRICS":      {nil, map[int]string{unix.RTAX_MTU: "RTAX_MTU", unix.RTAX_ADVMSS: "RTAX_ADVMSS"}},
	"QDISC":            {tcmsg, map[int]string{unix.TCA_KIND: "TCA_KIND", unix.TCA_OPTIONS: "TCA_OPTIONS"}},
	"TFILTER":          {tcmsg, map[int]string{unix.TCA_KIND: "TCA_KIND", unix.TCA_OPTIONS: "TCA_OPTIONS"}},
	"TCA_OPTIONS":      {nil, map[int]string{tbfParms: "TCA_TBF_PARMS", tbfRate64: "TCA_TBF_RATE64", tbfBurst: "TCA_TBF_BURST", u32Sel: "TCA_U32_SEL", u32Act: "TCA_U32_ACT"}},
	"TCA_U32_ACT":      {nil, map[int]string{actFirst: "the first action"}},
	"the first action": {nil, map[int]string{actKind: "TCA_ACT_KIND", actOptions: "TCA_ACT_OPTIONS"}},
	"TCA_ACT_OPTIONS":  {nil, map[int]string{mirredParms: "TCA_MIRRED_PARMS"}},
	"RULE": {[]string{"family, lengths of dst and src, tos", "table, reserved, action", "flags"}, map[int]string{
		fraSrc: "FRA_SRC", fraTable: "FRA_TABLE", fraPriority: "FRA_PRIORITY", fraProtocol: "FRA_PROTOCOL",
	}},
	"NEIGH": {[]string{"family", "index", "state, flags, type"}, map[int]string{
		unix.NDA_DST: "NDA_DST", unix.NDA_LLADDR: "NDA_LLADDR", unix.NDA_VLAN: "NDA_VLAN",
	}},
}

func annotateMessage(s *strings.Builder, m []byte) {
	typ, flags := binary.NativeEndian.Uint16(m[4:]), binary.NativeEndian.Uint16(m[6:])
	name := messageNames[typ]
	line(s, 0, m[0:4], "length")
	line(s, 0, m[4:8], fmt.Sprintf("%s, flags %#x", name, flags))
	line(s, 0, m[8:12], "sequence")
	line(s, 0, m[12:16], "port")
	layout := name[len("RTM_NEW"):]
	if layout == "LINK" && m[16] == unix.AF_BRIDGE {
		layout = "PORTVLAN"
	}
	annotateBody(s, 0, layout, m[16:])
}

func annotateBody(s *strings.Builder, depth int, layout string, b []byte) {
	for _, word := range layouts[layout].words {
		line(s, depth, b[:4], word)
		b = b[4:]
	}
	kind := ""
	a := attrs{rest: b}
	for rest := a.rest; a.next(); rest = a.rest {
		header, padded := rest[:4], rest[4:len(rest)-len(a.rest)]
		name := layouts[layout].attrs[a.typ]
		if name == "" {
			name = fmt.Sprintf("attribute %d", a.typ)
		}
		line(s, depth, header, name)
		switch inner := layouts[name]; {
		case name == "IFLA_INFO_KIND":
			kind = a.str()
			raw(s, depth+1, padded)
		case name == "IFLA_INFO_DATA":
			annotateBody(s, depth+1, kind, a.val)
		case name == "VETH_INFO_PEER":
			annotateBody(s, depth+1, "LINK", a.val)
		case inner.attrs != nil:
			annotateBody(s, depth+1, name, a.val)
		default:
			raw(s, depth+1, padded)
		}
	}
}

// raw prints bytes, as text too where they are text.
func raw(s *strings.Builder, depth int, b []byte) {
	for len(b) > 0 {
		n := min(4, len(b))
		text := ""
		if strings.IndexFunc(string(b[:n]), func(r rune) bool { return r < ' ' && r != 0 || r > '~' }) < 0 && b[0] != 0 {
			text = fmt.Sprintf("%q", strings.TrimRight(string(b[:n]), "\x00"))
		}
		line(s, depth, b[:n], text)
		b = b[n:]
	}
}

func line(s *strings.Builder, depth int, b []byte, text string) {
	s.WriteString(strings.TrimRight(fmt.Sprintf("    %-12s%s%s", fmt.Sprintf("% x", b), strings.Repeat("  ", depth), " "+text), " ") + "\n")
}
