// SPDX-License-Identifier: Apache-2.0

package device

import (
	"net"
	"strconv"

	"github.com/swiftcni/swiftcni/cni/spec"
	"github.com/swiftcni/swiftcni/internal/fault"
	"github.com/swiftcni/swiftcni/internal/jsontext"
	"github.com/swiftcni/swiftcni/internal/netconf"
	"github.com/swiftcni/swiftcni/internal/verbs"
	"github.com/swiftcni/swiftcni/rtnl"
	"golang.org/x/sys/unix"
)

const (
	maxMTU   = 65535 // ETH_MAX_MTU (linux/if_ether.h)
	maxQueue = 1<<31 - 1
)

// Keys are those of one of the plugins, of one network. err is the first wrong one.
type Keys struct {
	conf *netconf.Network
	kind kind
	err  *spec.Error

	master          string
	within          bool // the master is the container's: key "linkInContainer"
	mtu             int
	mode            uint32 // an rtnl.MacvlanMode or rtnl.IPVLANMode
	vlan            int
	queue           int
	mac, runtimeMAC string
	tap             tapKeys
}

// ReadMacvlan reads the keys of the plugin macvlan.
func ReadMacvlan(n *netconf.Network) verbs.Plugin { return read(n, macvlan) }

// ReadIPVLAN reads the keys of the plugin ipvlan.
func ReadIPVLAN(n *netconf.Network) verbs.Plugin { return read(n, ipvlan) }

// ReadVLAN reads the keys of the plugin vlan.
func ReadVLAN(n *netconf.Network) verbs.Plugin { return read(n, vlan) }

// ReadDummy reads the keys of the plugin dummy, which has none of its own.
func ReadDummy(n *netconf.Network) verbs.Plugin { return read(n, dummy) }

// ReadTap reads the keys of the plugin tap.
func ReadTap(n *netconf.Network) verbs.Plugin { return read(n, tap) }

func read(n *netconf.Network, of kind) *Keys {
	k := &Keys{conf: n, kind: of}
	switch of {
	case macvlan:
		k.mode = uint32(rtnl.MacvlanBridge)
	case ipvlan:
		k.mode = uint32(rtnl.IPVLANL2)
	case dummy:
		return k
	}
	r := n.Reader()
	err := r.Object(func(key string) error { return k.field(r, key) })
	k.err = fault.First(r, err)
	return k
}

// field reads a key, if the plugin has it.
func (k *Keys) field(r *jsontext.Reader, key string) error {
	if key == "mtu" {
		return k.readMTU(r)
	}
	if k.kind == tap {
		if err := k.tap.field(r, key); err != nil {
			return err
		}
		return k.macField(r, key)
	}
	switch key {
	case "master":
		return r.Str(&k.master)
	case "linkincontainer":
		return r.Bool(&k.within)
	}
	switch {
	case key == "mode" && k.kind != vlan:
		return k.readMode(r)
	case key == "vlanid" && k.kind == vlan:
		return k.readVLAN(r)
	case k.kind != macvlan:
		return nil
	case key == "bcqueuelen":
		return r.Bounded(&k.queue, 0, maxQueue)
	}
	return k.macField(r, key)
}

// macField reads a key that names a MAC.
func (k *Keys) macField(r *jsontext.Reader, key string) error {
	switch key {
	case "mac":
		return r.Str(&k.mac)
	case "runtimeconfig":
		return r.Object(func(key string) error {
			if key != "mac" {
				return nil
			}
			return r.Str(&k.runtimeMAC)
		})
	}
	return nil
}

// boundByMaster reports whether the MTU is judged by the master's, and so later than other keys.
func (k *Keys) boundByMaster() bool { return k.kind == macvlan || k.kind == vlan }

// readMTU takes what the kernel could.
func (k *Keys) readMTU(r *jsontext.Reader) error {
	if err := r.Integer(&k.mtu); err != nil {
		return err
	}
	if !k.boundByMaster() && (k.mtu < 0 || k.mtu > maxMTU) {
		r.Wrong("failed to create "+k.kind.String()+": "+unix.EINVAL.Error(), "0 to "+strconv.Itoa(maxMTU)+", got "+strconv.Itoa(k.mtu))
	}
	return nil
}

// checkMTU judges the MTU by the master's, in the reference's words.
func (k *Keys) checkMTU(master rtnl.LinkState) error {
	if k.boundByMaster() && (k.mtu < 0 || k.mtu > master.MTU) {
		return fault.Key("mtu", "invalid MTU "+strconv.Itoa(k.mtu)+", must be [0, master MTU("+strconv.Itoa(master.MTU)+")]")
	}
	return nil
}

func (k *Keys) readVLAN(r *jsontext.Reader) error {
	if err := r.Integer(&k.vlan); err != nil {
		return err
	}
	if k.vlan < 0 || k.vlan > netconf.MaxVLAN {
		r.Wrong("invalid VLAN ID "+strconv.Itoa(k.vlan)+" (must be between 0 and 4095 inclusive)", "0 to 4094")
	}
	return nil
}

func (k *Keys) readMode(r *jsontext.Reader) error {
	var text string
	if err := r.Str(&text); err != nil || text == "" {
		return err
	}
	expected := `"bridge", "private", "vepa" or "passthru"`
	if k.kind == ipvlan {
		expected = `"l2", "l3" or "l3s"`
	}
	for mode := uint32(1); mode <= uint32(rtnl.MacvlanPassthru); mode++ {
		if text == k.modeText(mode) && text[0] > '9' { // an unknown mode's text is a number
			k.mode = mode
			return nil
		}
	}
	r.Wrong("unknown "+k.kind.String()+" mode: "+strconv.Quote(text), expected)
	return nil
}

// modeText is the name of a mode.
func (k *Keys) modeText(mode uint32) string {
	if k.kind == ipvlan {
		return rtnl.IPVLANMode(mode).String()
	}
	return rtnl.MacvlanMode(mode).String()
}

// chooseMAC takes the last place that names a MAC. nil means none.
func (k *Keys) chooseMAC(a spec.Attachment) (mac net.HardwareAddr, _ error) {
	if k.kind != macvlan && k.kind != tap {
		return nil, nil
	}
	for _, from := range [...]struct{ key, text string }{
		{"runtimeConfig.mac", k.runtimeMAC}, {"CNI_ARGS MAC", k.conf.Asked(a)}, {"mac", k.mac},
	} {
		if from.text == "" {
			continue
		}
		mac, err := net.ParseMAC(from.text)
		switch {
		case err != nil:
			return nil, fault.Expected(from.key, "invalid args "+from.text+" for MAC addr: "+err.Error(), "six octets")
		case len(mac) != 6:
			return nil, fault.Expected(from.key, "failed to create "+k.kind.String()+": "+unix.EINVAL.Error(), "six octets")
		case mac[0]&1 != 0 || mac.String() == "00:00:00:00:00:00":
			return nil, fault.Expected(from.key, "failed to create "+k.kind.String()+": "+unix.EADDRNOTAVAIL.Error(), "the MAC of one link")
		}
		return mac, nil
	}
	return nil, nil
}
