// SPDX-License-Identifier: Apache-2.0

package cni

import (
	"strings"

	"github.com/swiftcni/swiftcni/ipam"
	"github.com/swiftcni/swiftcni/nft"
	"github.com/swiftcni/swiftcni/rtnl"
	"golang.org/x/sys/unix"
)

// A Proof tells which attachments can't exist any more. Whatever isn't proven lives: a boot ID that somebody has mounted
// over, or a link's name, MAC, alias, bridge or namespace that somebody has changed, proves nothing. It's for one look at
// the host: links that are made later aren't seen.
type Proof struct {
	host   hostID
	conn   *rtnl.Conn
	veths  *census // in every namespace that may have one; nil: not read yet
	unread error   // why it can't be
	real   *bool   // whether the boot ID is the kernel's own; nil: not asked yet
}

// A census is by what each veth is known.
type census struct {
	indexes map[int]bool
	marks   map[string]bool // aliases and MACs
}

// NewProof begins a look at the host from the namespace of a conn, which must be the calling thread's.
func NewProof(conn *rtnl.Conn) (*Proof, error) {
	host, err := readHostID()
	return host.proof(conn), err
}

func (h hostID) proof(conn *rtnl.Conn) *Proof { return &Proof{host: h, conn: conn} }

// aliveOn returns the test for life of a network's records.
func (p *Proof) aliveOn(network string) func(ipam.Record) bool {
	return func(r ipam.Record) bool { return !p.Dead(network, r) }
}

// Dead reports whether the attachment that a record describes provably doesn't exist. There are two proofs.
//
// No end of its veth is in any namespace where it could be. That's known where the host end was made in this namespace,
// since the kernel keeps a number for the namespace of the other end here for as long as that lives.
//
// Its boot has ended: another one's ID is the kernel's own, as this one's is, and the record was made on this host.
func (p *Proof) Dead(network string, r ipam.Record) bool {
	linked, another := r.Index != 0, r.Boot != p.host.boot
	if r.Boot == "" || linked && p.isHere(r) {
		return false
	}
	if linked && r.NetNS == p.host.netns.Ino && !(another && r.Shared) && p.count() == nil {
		return !p.veths.has(network, r)
	}
	return another && r.TrueBoot && !r.Shared && p.bootIsReal()
}

// isHere asks for the record's link in this namespace, by index and by name: whoever has either may be it.
func (p *Proof) isHere(r ipam.Record) bool {
	if _, err := p.conn.Name(r.Index); !absent(err) {
		return true
	}
	_, err := p.conn.Index(r.Link)
	return r.Link != "" && !absent(err)
}

// count makes the census, once.
func (p *Proof) count() error {
	if p.veths != nil || p.unread != nil {
		return p.unread
	}
	c := &census{indexes: map[int]bool{}, marks: map[string]bool{}}
	for l, err := range p.conn.LinksEverywhere(rtnl.LinkFilter{Kind: "veth"}) {
		if err != nil {
			p.unread = err
			return err
		}
		c.indexes[l.Index] = true
		c.marks[l.Alias], c.marks[l.MAC.String()] = true, true
	}
	p.veths = c
	return nil
}

// has looks for both ends of a record's veth. An end that's moved keeps its index, unless another link there has it.
func (c *census) has(network string, r ipam.Record) bool {
	text := alias(nft.Owner{Network: network, ContainerID: r.Owner.ContainerID, IfName: r.Owner.IfName})
	return c.indexes[r.Index] || r.Index >= leastIndex && c.indexes[r.Index+1] || text != "" && c.marks[text] || r.MAC != "" && c.marks[r.MAC]
}

// bootIsReal reports whether the boot ID is known to be the kernel's own.
func (p *Proof) bootIsReal() bool {
	if p.real == nil {
		real := p.host.bootIsReal()
		p.real = &real
	}
	return *p.real
}

// bootIsReal reports whether the boot ID was read from the kernel's own file: it's on procfs, and nothing is mounted
// over it, as LXC, LXD and systemd-nspawn do (STATX_ATTR_MOUNT_ROOT, Linux 5.8).
func (h hostID) bootIsReal() bool {
	const path = "/proc/sys/" + bootIDName
	fd, err := unix.Open(path, unix.O_RDONLY|unix.O_CLOEXEC, 0)
	if err != nil {
		return false
	}
	defer unix.Close(fd)
	var fs unix.Statfs_t
	if unix.Fstatfs(fd, &fs) != nil || fs.Type != unix.PROC_SUPER_MAGIC {
		return false
	}
	var st unix.Statx_t
	if unix.Statx(fd, "", unix.AT_EMPTY_PATH, unix.STATX_TYPE, &st) != nil ||
		st.Attributes_mask&unix.STATX_ATTR_MOUNT_ROOT == 0 || st.Attributes&unix.STATX_ATTR_MOUNT_ROOT != 0 {
		return false
	}
	var b [64]byte
	n, err := unix.Read(fd, b[:])
	return err == nil && trimLine(b[:n]) == h.boot
}

// DeadOwner reports whether the attachment of an owner of whom no record is known provably doesn't exist, given that
// bridge or ptp made it in this namespace. A name that was cut tells nothing.
func (p *Proof) DeadOwner(o nft.Owner) bool {
	if strings.Contains(o.String(), "~") { // nft.Owner.Short has cut it
		return false
	}
	for attempt := range attempts {
		nm := namesOf(o.Network, o.ContainerID, o.IfName, attempt)
		if !p.Dead(o.Network, nm.record(ipam.Owner{ContainerID: o.ContainerID, IfName: o.IfName}, p.host)) {
			return false
		}
	}
	return true
}

// record is the evidence of an attachment that's made now.
func (nm names) record(o ipam.Owner, h hostID) ipam.Record {
	return ipam.Record{Owner: o, Boot: h.boot, NetNS: h.netns.Ino, Link: nm.link, Index: nm.index, MAC: nm.mac.String()}
}
