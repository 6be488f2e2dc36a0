// SPDX-License-Identifier: Apache-2.0

package rtnl

import (
	"net"
	"strconv"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"
)

// NoMaster, as [Link].Master, takes a link out of its bridge.
const NoMaster = -1

// NoTxQueue, as [Link].TxQueueLen, is a transmit queue of no packets.
const NoTxQueue = -1

// NoAlias, as [Link].Alias, takes a link's alias away.
const NoAlias = "\x00"

// maxName is the longest name of a link in bytes (IFNAMSIZ less its zero, linux/if.h).
const maxName = unix.IFNAMSIZ - 1

// maxAlias is the longest alias in bytes (IFALIASZ less its zero, linux/if.h).
const maxAlias = 255

// A State is whether a link is administratively up (IFF_UP, linux/if.h).
type State uint8

// States of a link. On Set, Unchanged leaves the state alone; on Create it's the same as Down.
const (
	Unchanged State = iota
	Up
	Down
)

// A Switch is a setting for which off is a real value. Its zero is unset: the kernel's default on
// Create, no change on Set.
type Switch uint8

// Values of a Switch.
const (
	Unset Switch = iota
	On
	Off
)

// OnOff returns On or Off.
func OnOff(on bool) Switch {
	if on {
		return On
	}
	return Off
}

func (s Switch) uint8() uint8 {
	if s == On {
		return 1
	}
	return 0
}

// An OperState is what a link can do at present (RFC 2863, IF_OPER_* in linux/if.h).
type OperState uint8

// Operational states. A port forwards only while its link is OperUp.
const (
	OperUnknown OperState = iota
	OperNotPresent
	OperDown
	OperLowerLayerDown
	OperTesting
	OperDormant
	OperUp
)

func (s OperState) String() string {
	names := [...]string{"unknown", "notpresent", "down", "lowerlayerdown", "testing", "dormant", "up"}
	if int(s) < len(names) {
		return names[s]
	}
	return strconv.Itoa(int(s))
}

// A Link is a network device of any kind, with the properties that all kinds have.
type Link struct {
	// Index names the link within its namespace. On Create, 0 lets the kernel choose. An index in
	// use is refused with EEXIST, as a name in use is, but with EBUSY if it's that of a [Veth]'s
	// peer. On Set and Delete, 0 means that the link is named by Name. It must be zero on Ensure.
	Index int
	// Name has at most 15 bytes. On Set with an Index it's the new name. Before Linux 6.2 only a
	// link that is down can take one (EBUSY).
	Name string
	// MAC is the hardware address. Without one on Create the kernel picks a random one.
	MAC net.HardwareAddr
	// MTU is in bytes.
	MTU int
	// Master is the index of the bridge that the link is a port of; [NoMaster] takes it out.
	Master int
	// Group is a number that many links can share. [Batch.Delete] of a Link that has only a Group
	// removes the whole group.
	Group uint32
	// State is whether the link is up. On Set it takes effect before ARPNotify, RouteLocalnet and
	// LinkLocal, and after all other fields.
	State State
	// Promisc asks for all frames (IFF_PROMISC).
	Promisc Switch
	// AllMulticast asks for all multicast frames (IFF_ALLMULTI).
	AllMulticast Switch
	// TxQueueLen is how many packets the transmit queue holds; [NoTxQueue] is none.
	TxQueueLen int
	// NetNS is the namespace where the link is born or, on Set, moved to. Nil is the conn's own. It
	// must stay open until [Conn.Do] has returned. It's nil in a [LinkState].
	NetNS *NetNS
	// Queues is the number of transmit queues and of receive queues. It's fixed when the link is
	// made, and Set ignores it. Without it a veth gets one queue for each possible CPU, each with
	// its objects in sysfs. Creating 32 queues takes twice the time of 1.
	Queues int
	// Alias is free text of at most 255 bytes that stays with the link when it's renamed or moved;
	// [NoAlias] is none. It's for Set only, as are LinkLocal, ARPNotify and RouteLocalnet: the kernel ignores them on creation,
	// so they are refused there.
	Alias string
	// LinkLocal Off keeps the kernel from making an IPv6 link-local address when the link goes up
	// (IN6_ADDR_GEN_MODE_NONE). On is the kernel's default (EUI-64).
	//
	// An end of a veth that is up makes its address when its peer goes up too. So it's early enough
	// to set it in the change after the creation. In a [LinkState] of Linux 5.10 it's Unset, since
	// that kernel's answers without counters lack it.
	LinkLocal Switch
	// ARPNotify announces the IPv4 addresses when the link goes up (net.ipv4.conf.LINK.arp_notify).
	ARPNotify Switch
	// RouteLocalnet routes 127.0.0.0/8 (net.ipv4.conf.LINK.route_localnet).
	RouteLocalnet Switch
	// Kind is the driver: "veth", "bridge", "dummy". Create and Ensure make a link of a kind that
	// needs no options. It can't change, so Set ignores it, as do [Veth], [Bridge] and the other
	// kinds that have a type of their own.
	Kind string
}

// A LinkState is a link as the kernel describes it. Its Link can be sent again, and it can't itself.
type LinkState struct {
	Link
	answer

	// PeerIndex is the index of a veth's other end, or of the link below (IFLA_LINK).
	PeerIndex int
	// OperState is the link's ability to carry frames now.
	OperState OperState
	// AltNames are further names, by which look-ups find the link. A move takes them along.
	AltNames []string
	// Promiscuity counts the requests for all frames: Promisc, bridges, captures.
	Promiscuity int

	peerNetNS netNSNumber // IFLA_LINK_NETNSID
}

// An answer in a struct with an [Object] keeps the struct from being one: two methods of the same
// name and depth are no method of it. So no batch takes what only the kernel says.
type answer struct{}

func (answer) write(*words) {}

// encode appends the change of a link.
func (l Link) encode(b *Batch, v verb) {
	if v == remove {
		l.encodeDelete(b)
		return
	}
	l.begin(b, v)
	if l.Kind != "" && (v == create || v == ensure) {
		off := b.enc.nest(unix.IFLA_LINKINFO)
		b.enc.str(unix.IFLA_INFO_KIND, l.Kind)
		b.enc.endNest(off)
	}
	b.end()
}

// begin starts a request with the properties that all kinds of links have. Links know no
// NLM_F_REPLACE.
func (l *Link) begin(b *Batch, v verb) {
	b.begin(unix.RTM_NEWLINK, v.flags()&^unix.NLM_F_REPLACE)
	if v == ensure && l.Index != 0 {
		b.fail(syscall.EINVAL, "ensuring by index would rename whatever link has it")
	}
	l.header(b, unix.AF_UNSPEC)
	l.attributes(b, v)
}

func (l *Link) encodeDelete(b *Batch) {
	b.begin(unix.RTM_DELLINK, remove.flags())
	id := Link{Index: l.Index}
	id.header(b, unix.AF_UNSPEC)
	switch {
	case l.Index != 0:
	case l.Name != "":
		l.name(b)
	case l.Group != 0:
		b.enc.u32(unix.IFLA_GROUP, l.Group)
	}
	b.end()
}

// header appends a struct ifinfomsg (linux/rtnetlink.h).
func (l *Link) header(b *Batch, family uint8) {
	var flags, change uint32
	switch l.State {
	case Up:
		flags, change = unix.IFF_UP, unix.IFF_UP
	case Down:
		change = unix.IFF_UP
	}
	for _, s := range [...]struct {
		is   Switch
		flag uint32
	}{{l.Promisc, unix.IFF_PROMISC}, {l.AllMulticast, unix.IFF_ALLMULTI}} {
		switch s.is {
		case On:
			flags, change = flags|s.flag, change|s.flag
		case Off:
			change |= s.flag
		}
	}
	b.enc.fixed(family, 0, 0, 0)
	b.enc.fixed32(uint32(l.Index))
	b.enc.fixed32(flags)
	b.enc.fixed32(change)
}

func (l *Link) name(b *Batch) {
	switch {
	case len(l.Name) > maxName:
		b.fail(syscall.ENAMETOOLONG, "a link's name has at most 15 bytes")
	case strings.IndexByte(l.Name, 0) >= 0:
		b.fail(syscall.EINVAL, "a link's name holds no zero byte")
	}
	b.enc.str(unix.IFLA_IFNAME, l.Name)
}

func (l *Link) attributes(b *Batch, v verb) {
	e := &b.enc
	if l.Name != "" {
		l.name(b)
	}
	if l.MAC != nil {
		e.bytes(unix.IFLA_ADDRESS, l.MAC)
	}
	if l.MTU != 0 {
		e.u32(unix.IFLA_MTU, uint32(l.MTU))
	}
	switch {
	case l.Master == NoMaster:
		e.u32(unix.IFLA_MASTER, 0)
	case l.Master != 0:
		e.u32(unix.IFLA_MASTER, uint32(l.Master))
	}
	if l.Group != 0 {
		e.u32(unix.IFLA_GROUP, l.Group)
	}
	switch {
	case l.TxQueueLen == NoTxQueue:
		e.u32(unix.IFLA_TXQLEN, 0)
	case l.TxQueueLen != 0:
		e.u32(unix.IFLA_TXQLEN, uint32(l.TxQueueLen))
	}
	if l.Queues != 0 && v != set {
		e.u32(unix.IFLA_NUM_TX_QUEUES, uint32(l.Queues))
		e.u32(unix.IFLA_NUM_RX_QUEUES, uint32(l.Queues))
	}
	if l.NetNS != nil {
		e.u32(unix.IFLA_NET_NS_FD, uint32(l.NetNS.fd))
		b.ns = append(b.ns, l.NetNS)
	}
	l.setOnly(b, v)
}

// setOnly appends settings that the kernel silently ignores on creation. On Create they are refused
// instead of sent.
func (l *Link) setOnly(b *Batch, v verb) {
	if l.Alias == "" && l.LinkLocal == Unset && l.ARPNotify == Unset && l.RouteLocalnet == Unset {
		return
	}
	if v != set {
		b.fail(syscall.EINVAL, "alias, link-local, arp_notify and route_localnet can only be set on a link that exists")
	}
	if len(l.Alias) > maxAlias {
		b.fail(syscall.ENAMETOOLONG, "a link's alias has at most 255 bytes")
		return
	}
	switch l.Alias {
	case "":
	case NoAlias:
		b.enc.bytes(unix.IFLA_IFALIAS, nil)
	default:
		b.enc.str(unix.IFLA_IFALIAS, l.Alias)
	}
	l.families(&b.enc)
}

// Numbers of settings in IFLA_INET_CONF (IPV4_DEVCONF_*, linux/ip.h).
const (
	devconfARPNotify     = 22
	devconfRouteLocalnet = 26
)

// Modes of IFLA_INET6_ADDR_GEN_MODE (enum in6_addr_gen_mode, linux/if_link.h).
const (
	addrGenEUI64 = 0
	addrGenNone  = 1
)

// families appends the settings of address families (IFLA_AF_SPEC, linux/if_link.h).
func (l *Link) families(e *encoder) {
	if l.LinkLocal == Unset && l.ARPNotify == Unset && l.RouteLocalnet == Unset {
		return
	}
	spec := e.nest(unix.IFLA_AF_SPEC)
	if l.ARPNotify != Unset || l.RouteLocalnet != Unset {
		inet := e.nest(unix.AF_INET)
		conf := e.nest(unix.IFLA_INET_CONF)
		if l.ARPNotify != Unset {
			e.u32(devconfARPNotify, uint32(l.ARPNotify.uint8()))
		}
		if l.RouteLocalnet != Unset {
			e.u32(devconfRouteLocalnet, uint32(l.RouteLocalnet.uint8()))
		}
		e.endNest(conf)
		e.endNest(inet)
	}
	if l.LinkLocal != Unset {
		inet6 := e.nest(unix.AF_INET6)
		mode := uint8(addrGenEUI64)
		if l.LinkLocal == Off {
			mode = addrGenNone
		}
		e.u8(unix.IFLA_INET6_ADDR_GEN_MODE, mode)
		e.endNest(inet6)
	}
	e.endNest(spec)
}

func (l Link) write(w *words) {
	w.word("link")
	l.writeRest(w)
}

// writeRest prints all but the kind.
func (l *Link) writeRest(w *words) {
	switch {
	case l.Name != "":
		w.word(l.Name)
		w.number("index", l.Index)
	case l.Index != 0:
		w.word(w.link(l.Index))
	case l.Group != 0:
		w.word("all")
	}
	if l.Kind != "" {
		w.word("type", l.Kind)
	}
	if l.MAC != nil {
		w.word("address", l.MAC.String())
	}
	w.number("mtu", l.MTU)
	switch {
	case l.Master == NoMaster:
		w.word("nomaster")
	case l.Master != 0:
		w.word("master", w.link(l.Master))
	}
	w.number("group", int(l.Group))
	if l.TxQueueLen != 0 {
		w.word("txqueuelen", strconv.Itoa(max(l.TxQueueLen, 0)))
	}
	w.number("queues", l.Queues)
	switch l.Alias {
	case "":
	case NoAlias:
		w.word("noalias")
	default:
		w.word("alias", strconv.Quote(l.Alias))
	}
	w.toggle("promisc", l.Promisc)
	w.toggle("allmulticast", l.AllMulticast)
	w.toggle("link-local", l.LinkLocal)
	w.toggle("arp_notify", l.ARPNotify)
	w.toggle("route_localnet", l.RouteLocalnet)
	switch l.State {
	case Up:
		w.word("up")
	case Down:
		w.word("down")
	}
	if l.NetNS != nil {
		w.word("netns", w.path(l.NetNS))
	}
}

// A netNSNumber is the number that a namespace has given to another one (linux/net_namespace.h).
// Zero is a number.
type netNSNumber struct {
	number int32
	known  bool
}
