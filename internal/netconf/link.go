// SPDX-License-Identifier: Apache-2.0

package netconf

import (
	"errors"
	"net/netip"
	"strconv"

	"github.com/swiftcni/swiftcni/cni/spec"
	"github.com/swiftcni/swiftcni/internal/fault"
	"github.com/swiftcni/swiftcni/internal/jsontext"
	"github.com/swiftcni/swiftcni/internal/names"
	"golang.org/x/sys/unix"
)

// field reads one of the keys that bridge and ptp share.
func (l *Link) field(r *jsontext.Reader, key string) error {
	switch key {
	case "ipmasq":
		return r.Bool(&l.IPMasq)
	case "ip6masq":
		return r.Flag(&l.IP6Masq)
	case "outboundaddr4":
		return l.readOutbound(r, 0)
	case "outboundaddr6":
		return l.readOutbound(r, 1)
	case "mtu":
		return l.readMTU(r)
	case "queues":
		return r.Bounded(&l.Queues, 1, maxQueues)
	case "linklocal":
		on := !l.NoLinkLocal
		err := r.Bool(&on)
		l.NoLinkLocal = !on
		return err
	case "hostinterfacename":
		l.HostName = ""
		return r.Text(`a link's name, in which "{hash}" may stand for 4 to 8 digits`, func(s string) bool {
			ok := names.IsPattern(s)
			if ok {
				l.HostName = s
			}
			return ok
		})
	}
	return nil
}

// readOutbound reads an address that packets may be from, of IPv4 or of IPv6.
func (l *Link) readOutbound(r *jsontext.Reader, family int) error {
	a := &l.Outbound[family]
	*a = netip.Addr{}
	if err := r.Addr(a); err != nil || !a.IsValid() {
		return err
	}
	// By the first byte: this network, loopback, multicast and beyond, of IPv4; special addresses and
	// multicast, of IPv6. A link-local one means nothing beyond its link.
	first := a.As16()[0]
	if a.Is4() {
		first = a.As4()[0]
	}
	if a.Is4() != (family == 0) || first == 0 || first == 0xff || a.Is4() && (first == 127 || first >= 224) || a.Is6() && a.IsLinkLocalUnicast() {
		r.Invalid("expected a host's address, of IPv4 for outboundAddr4 and of IPv6 for outboundAddr6")
		*a = netip.Addr{}
	}
	return nil
}

// readMTU says of a link's MTU what the kernel would.
func (l *Link) readMTU(r *jsontext.Reader) error {
	l.AutoMTU = false
	if r.Kind() == '"' {
		var s string
		err := r.Str(&s)
		if l.AutoMTU = s == "auto"; !l.AutoMTU {
			r.Invalid(`expected a number or "auto", got ` + strconv.Quote(s))
		}
		return err
	}
	n, ok, err := r.Whole()
	switch {
	case !ok:
	case n < -1<<31 || n > maxMTU:
		r.Wrong("failed to make veth pair: "+unix.EINVAL.Error(), "at most "+strconv.Itoa(maxMTU)+", got "+strconv.Itoa(n))
	default:
		l.MTU = n
	}
	return err
}

// readBackend judges ipMasqBackend, which decides nothing: all that's masqueraded is so by
// nftables.
func readBackend(r *jsontext.Reader) error {
	var backend string
	if err := r.Str(&backend); err != nil {
		return err
	}
	switch backend {
	case "", "iptables", "nftables":
	default:
		fault.Note(r, fault.Expected("ipMasqBackend", "unknown ipmasq backend "+strconv.Quote(backend), `"iptables" or "nftables"`))
	}
	return nil
}

// field reads one key of the bridge plugin.
func (b *Bridge) field(r *jsontext.Reader, key string) error {
	switch key {
	case "bridge":
		return b.readName(r)
	case "isgateway":
		return r.Bool(&b.IsGateway)
	case "isdefaultgateway":
		return r.Bool(&b.IsDefaultGateway)
	case "forceaddress":
		return r.Bool(&b.ForceAddress)
	case "hairpinmode":
		return r.Bool(&b.Hairpin)
	case "promiscmode":
		return r.Bool(&b.Promisc)
	case "groupfwdmask":
		return b.readGroupFwdMask(r)
	case "uplinkinterface":
		b.Uplink = ""
		return r.Text("a link's name", func(s string) bool {
			b.Uplink = s
			return names.LinkProblem(s) == ""
		})
	case "vlan":
		return b.readVLAN(r)
	case "vlantrunk":
		return b.readTrunk(r)
	case "preservedefaultvlan":
		return r.Bool(&b.KeepDefaultVLAN)
	case "macspoofchk":
		return r.Bool(&b.MACSpoofCheck)
	case "enabledad":
		return r.Bool(&b.DAD)
	case "disablecontainerinterface":
		return r.Bool(&b.ContainerDown)
	case "portisolation":
		return r.Bool(&b.Isolated)
	}
	return nil
}

// readGroupFwdMask reads a mask without the groups that the kernel keeps for itself: spanning tree's,
// pause frames' and LACP's (BR_GROUPFWD_RESTRICTED, net/bridge/br_private.h).
func (b *Bridge) readGroupFwdMask(r *jsontext.Reader) error {
	err := r.Bounded(&b.GroupFwdMask, 0, 1<<16-1)
	if b.GroupFwdMask&7 != 0 {
		r.Invalid("expected a mask without the bits 0 to 2")
		b.GroupFwdMask = 0
	}
	return err
}

func (b *Bridge) readName(r *jsontext.Reader) error {
	if err := r.Str(&b.Name); err != nil {
		return err
	}
	if problem := names.LinkProblem(b.Name); problem != "" {
		fault.Note(r, bridgeNameError(b.Name, problem))
	}
	return nil
}

// bridgeNameError says of a name what the kernel and netlink's library do, and why.
func bridgeNameError(name, problem string) *spec.Error {
	refusal := error(unix.EINVAL)
	switch {
	case name == "":
		refusal = errors.New("LinkAttrs.Name cannot be empty")
	case len(name) > names.MaxLink:
		refusal = unix.ERANGE
	}
	quoted := strconv.Quote(name)
	return fault.Because(fault.Key("bridge", "failed to create bridge "+quoted+": could not add "+quoted+": "+refusal.Error()), "bridge: "+problem)
}
