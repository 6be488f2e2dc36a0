// SPDX-License-Identifier: Apache-2.0

package netavark

import (
	"encoding/binary"
	"errors"
	"net/netip"
	"strconv"

	"github.com/swiftcni/swiftcni/cni"
	"github.com/swiftcni/swiftcni/internal/jsontext"
	"github.com/swiftcni/swiftcni/internal/sha512"
)

// The IPAM drivers: podman chooses addresses, or the driver does in host-local's directory.
const (
	podmansIPAM = "host-local"
	ownIPAM     = "swiftcni"
)

// create completes a network, and refuses one that setup would refuse. Members that the driver
// doesn't know stay as they are.
func create(text []byte, program string) ([]byte, error) {
	var n network
	type member struct {
		key   string
		value []byte
	}
	var members []member
	r := jsontext.NewReader(text, "")
	err := n.read(r, func(key string, value []byte) { members = append(members, member{key, value}) })
	if err := ended(r, err); err != nil {
		return nil, err
	}
	if err := n.belongs(program); err != nil {
		return nil, err
	}
	if err := n.complete(); err != nil {
		return nil, err
	}
	if err := n.judge(); err != nil {
		return nil, err
	}
	w := jsontext.NewWriter(nil).Open('{')
	for _, m := range members {
		switch m.key {
		case "network_interface", "subnets", "ipam_options", "dns_enabled":
			continue
		}
		w.Key(m.key).Raw(string(m.value))
	}
	w.Text("network_interface", n.link)
	w.Key("dns_enabled").Raw("false") // aardvark-dns isn't told of a plugin's containers
	w.Key("ipam_options").Open('{')
	w.Text("driver", n.ipam)
	w.Close('}')
	w.Key("subnets").Open('[')
	for i := range n.subnets {
		n.subnets[i].write(w.Item())
	}
	w.Close(']')
	return append(w.Close('}').Bytes(), '\n'), nil
}

// write writes a subnet as podman has it.
func (s *subnet) write(w *jsontext.Writer) {
	w.Open('{')
	w.Text("subnet", s.prefix.Masked().String())
	writeAddr(w, "gateway", s.gateway)
	if s.first.IsValid() || s.last.IsValid() {
		w.Key("lease_range").Open('{')
		writeAddr(w, "start_ip", s.first)
		writeAddr(w, "end_ip", s.last)
		w.Close('}')
	}
	w.Close('}')
}

// complete fills in what was left to the driver.
func (n *network) complete() error {
	if n.ipam != "" && n.ipam != podmansIPAM && n.ipam != ownIPAM {
		return errors.New("ipam_options.driver: " + strconv.Quote(n.ipam) + " isn't " + podmansIPAM + ", with which podman chooses addresses")
	}
	n.ipam = podmansIPAM
	if n.chooses {
		n.ipam = ownIPAM // podman then leaves them alone
	}
	if len(n.id) < 12 {
		return errors.New("id: " + strconv.Quote(n.id) + " isn't the ID of a network")
	}
	if n.link == "" {
		n.link = n.defaultLink()
	}
	has4, has6 := false, false
	for i := range n.subnets {
		s := &n.subnets[i]
		if !s.prefix.IsValid() {
			return errors.New("subnets[" + strconv.Itoa(i) + "]: no subnet")
		}
		has4, has6 = has4 || s.prefix.Addr().Is4(), has6 || s.prefix.Addr().Is6()
	}
	four, six := subnetsOf(n.id)
	if len(n.subnets) == 0 {
		n.subnets, has4 = append(n.subnets, subnet{prefix: four}), true
	}
	if n.ipv6 && !has6 {
		n.subnets = append(n.subnets, subnet{prefix: six})
	}
	for i := range n.subnets {
		s := &n.subnets[i]
		if !s.gateway.IsValid() && !n.internal {
			s.gateway = s.prefix.Masked().Addr().Next()
		}
	}
	return nil
}

// subnetsOf are the subnets of a network for which nobody has chosen any: out of 10.128.0.0/9 and of
// fd00::/8 (RFC 4193). They follow from its ID, so that they needn't be looked for. Nobody compares a
// driver's subnets with those of other networks: podman doesn't, and the driver sees none.
func subnetsOf(id string) (four, six netip.Prefix) {
	sum := sha512.Sum512([]byte(id))
	n := binary.BigEndian.Uint32(sum[:])
	four = netip.PrefixFrom(netip.AddrFrom4([4]byte{10, 128 | byte(n>>8)&0x7f, byte(n)}), 24)
	a := [16]byte{0xfd}
	copy(a[1:8], sum[8:])
	return four, netip.PrefixFrom(netip.AddrFrom16(a), 64)
}

// judge finds what setup would refuse of the network, for a container that doesn't matter: with
// addresses that podman chooses, and with those that host-local does.
func (n *network) judge() error {
	var some []netip.Addr
	for _, s := range n.subnets {
		some = append(some, s.prefix.Masked().Addr().Next().Next())
	}
	for _, addrs := range [][]netip.Addr{nil, some} {
		c := call{network: *n, addrs: addrs}
		conf, err := c.conf()
		if err != nil {
			return err
		}
		if _, err := cni.Parse(conf); err != nil {
			return said(err)
		}
	}
	return nil
}

// said is a plugin's error in one text.
func said(err error) error {
	var e *cni.Error
	if errors.As(err, &e) {
		return errors.New(withDetails(e.Msg, e.Details))
	}
	return err
}
