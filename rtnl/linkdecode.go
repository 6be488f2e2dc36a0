// SPDX-License-Identifier: Apache-2.0

package rtnl

import (
	"encoding/binary"

	"golang.org/x/sys/unix"
)

// A linkMessage is a decoded RTM_NEWLINK. The parts that depend on the kind are still bytes.
type linkMessage struct {
	LinkState
	data, port       []byte // IFLA_INFO_DATA and, of a bridge's port, IFLA_INFO_SLAVE_DATA
	hasData, hasPort bool
	// present says that the message tells the present state, and isn't a request.
	present bool
}

// decode reads a struct ifinfomsg and its attributes.
func (m *linkMessage) decode(b []byte) error {
	if len(b) < unix.SizeofIfInfomsg {
		return errShort
	}
	m.Index = int(int32(binary.NativeEndian.Uint32(b[4:])))
	flags, change := binary.NativeEndian.Uint32(b[8:]), binary.NativeEndian.Uint32(b[12:])
	if m.present {
		change = unix.IFF_UP | unix.IFF_PROMISC | unix.IFF_ALLMULTI
	}
	if change&unix.IFF_UP != 0 {
		m.State = Down
		if flags&unix.IFF_UP != 0 {
			m.State = Up
		}
	}
	if change&unix.IFF_PROMISC != 0 {
		m.Promisc = OnOff(flags&unix.IFF_PROMISC != 0)
	}
	if change&unix.IFF_ALLMULTI != 0 {
		m.AllMulticast = OnOff(flags&unix.IFF_ALLMULTI != 0)
	}
	a := attrs{rest: b[unix.SizeofIfInfomsg:]}
	for a.next() {
		m.attribute(&a)
	}
	return a.err
}

func (m *linkMessage) attribute(a *attrs) {
	switch a.typ {
	case unix.IFLA_IFNAME:
		m.Name = a.str()
	case unix.IFLA_ADDRESS:
		m.MAC = a.bytes()
	case unix.IFLA_MTU:
		m.MTU = int(a.u32())
	case unix.IFLA_MASTER:
		m.Master = int(int32(a.u32()))
		if m.Master == 0 {
			m.Master = NoMaster
		}
	case unix.IFLA_GROUP:
		m.Group = a.u32()
	case unix.IFLA_TXQLEN:
		if m.TxQueueLen = int(a.u32()); m.TxQueueLen == 0 {
			m.TxQueueLen = NoTxQueue
		}
	case unix.IFLA_NUM_TX_QUEUES:
		m.Queues = int(a.u32())
	case unix.IFLA_IFALIAS:
		if m.Alias = a.str(); len(a.val) == 0 {
			m.Alias = NoAlias
		}
	case unix.IFLA_NET_NS_FD:
		m.NetNS = &NetNS{fd: int(int32(a.u32()))}
	case unix.IFLA_LINK:
		m.PeerIndex = int(int32(a.u32()))
	case unix.IFLA_LINK_NETNSID:
		m.peerNetNS = netNSNumber{int32(a.u32()), true}
	case unix.IFLA_OPERSTATE:
		m.OperState = OperState(a.u8())
	case unix.IFLA_PROMISCUITY:
		m.Promiscuity = int(a.u32())
	case unix.IFLA_PROP_LIST:
		m.properties(a)
	case unix.IFLA_LINKINFO:
		m.info(a)
	case unix.IFLA_AF_SPEC:
		m.families(a)
	}
}

func (m *linkMessage) info(outer *attrs) {
	a := outer.nested()
	ofBridge := false // the kind comes before the data
	for a.next() {
		switch a.typ {
		case unix.IFLA_INFO_KIND:
			m.Kind = a.str()
		case unix.IFLA_INFO_DATA:
			m.data, m.hasData = a.val, true
		case unix.IFLA_INFO_SLAVE_KIND:
			ofBridge = string(a.val) == "bridge\x00" // and not of a VRF
		case unix.IFLA_INFO_SLAVE_DATA:
			if ofBridge {
				m.port, m.hasPort = a.val, true
			}
		}
	}
	outer.took(&a)
}

func (m *linkMessage) properties(outer *attrs) {
	a := outer.nested()
	for a.next() {
		if a.typ == unix.IFLA_ALT_IFNAME {
			m.AltNames = append(m.AltNames, a.str())
		}
	}
	outer.took(&a)
}

func (m *linkMessage) families(outer *attrs) {
	a := outer.nested()
	for a.next() {
		family := a.nested()
		for family.next() {
			switch {
			case a.typ == unix.AF_INET && family.typ == unix.IFLA_INET_CONF:
				m.devconf(&family)
			case a.typ == unix.AF_INET6 && family.typ == unix.IFLA_INET6_ADDR_GEN_MODE:
				m.LinkLocal = OnOff(family.u8() != addrGenNone)
			}
		}
		a.took(&family)
	}
	outer.took(&a)
}

// devconf reads IFLA_INET_CONF. Requests nest one attribute for each setting. Answers are an array
// of all settings from number 1 on (inet_fill_link_af), which is longer on newer kernels.
func (m *linkMessage) devconf(a *attrs) {
	if m.present {
		if a.need(4 * devconfRouteLocalnet) {
			m.ARPNotify = OnOff(binary.NativeEndian.Uint32(a.val[4*(devconfARPNotify-1):]) != 0)
			m.RouteLocalnet = OnOff(binary.NativeEndian.Uint32(a.val[4*(devconfRouteLocalnet-1):]) != 0)
		}
		return
	}
	conf := a.nested()
	for conf.next() {
		switch conf.typ {
		case devconfARPNotify:
			m.ARPNotify = OnOff(conf.u32() != 0)
		case devconfRouteLocalnet:
			m.RouteLocalnet = OnOff(conf.u32() != 0)
		}
	}
	a.took(&conf)
}

// decodeLinkChange decodes a batch's message about a link.
func decodeLinkChange(typ uint16, b []byte) (Object, error) {
	if len(b) > 0 && b[0] == unix.AF_BRIDGE {
		return decodePortVLAN(b)
	}
	var m linkMessage
	if err := m.decode(b); err != nil {
		return nil, err
	}
	switch {
	case m.hasPort:
		return decodePort(m.Link, m.port)
	case m.hasData:
		return m.decodeKind()
	}
	return m.Link, nil
}

// decodeKind decodes a change with options of a kind.
func (m *linkMessage) decodeKind() (Object, error) {
	l := m.Link
	l.Kind = ""
	switch m.Kind {
	case "veth":
		return decodeVeth(l, m.data)
	case "bridge":
		return bridgeOf(l, m.data)
	case "macvlan", "ipvlan", "vlan", "vrf":
		return m.kindLink()
	}
	return m.Link, nil
}

// decodeLink decodes the kernel's answer about a link.
func decodeLink(b []byte) (linkMessage, error) {
	m := linkMessage{present: true}
	err := m.decode(b)
	if m.Master == NoMaster {
		m.Master = 0
	}
	return m, err
}
