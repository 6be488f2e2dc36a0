// SPDX-License-Identifier: Apache-2.0

package ipam

import (
	"encoding/hex"
	"hash/fnv"
	"net/netip"
	"strconv"
	"strings"
)

// Owner is what holds leases: an interface of a container, by the names that CNI gives it. A lease
// written by host-local before 0.7 names no interface.
type Owner struct{ ContainerID, IfName string }

// String is the owner as "c1/eth0".
func (o Owner) String() string { return o.ContainerID + "/" + o.IfName }

// Record is what the sidecar knows of an owner: its addresses, and the evidence by which its death
// can be proven. A record without a Boot has no evidence, and its leases are ended by DEL and GC
// alone.
type Record struct {
	Owner Owner
	Addrs []netip.Addr // of all its leases in this network
	// Prefixes are addresses with their subnets' lengths, as they were given. They are hints: there
	// are none of what host-local gave, and may be some of what isn't held any more.
	Prefixes []netip.Prefix

	Boot  string // boot ID, /proc/sys/kernel/random/boot_id
	NetNS uint64 // inode of the host-side network namespace
	Link  string // name of the host-side link
	Index int    // its index
	MAC   string // hardware address of the link or of the container, as the caller of Reserve gave it; not interpreted

	// TrueBoot says that Boot is known to be the kernel's own. Anybody can mount a file over the
	// kernel's, so two IDs that differ prove two boots only if both are known. It's set for
	// [Request].Alive and by [Store.Records].
	TrueBoot bool
	// Shared says that the record may have been made on another host, as its directory is on a file
	// system that several can use, or on one of which that isn't known. It's set where TrueBoot is.
	Shared bool
}

const (
	// maxRecord is the longest text of a symbolic link: PATH_MAX without its final NUL.
	maxRecord = 4095
	// maxName is the longest file name, NAME_MAX of linux/limits.h.
	maxName       = 255
	recordVersion = "1"
)

// recordName is the name of an owner's record in the sidecar. It's "c1:eth0", since neither name
// can hold a colon; an owner that doesn't look like CNI's goes by a hash, and its record's text
// repeats it. Names of other things in the sidecar begin with "@", names of records never do.
func recordName(o Owner) string {
	if o.plain() {
		return o.ContainerID + ":" + o.IfName
	}
	h := fnv.New128a()
	h.Write([]byte(o.content()))
	return "#" + hex.EncodeToString(h.Sum(nil))
}

// plain reports whether an owner's names can be a record's name.
func (o Owner) plain() bool {
	if len(o.ContainerID)+1+len(o.IfName) > maxName || !validName(o.ContainerID) {
		return false
	}
	for i := range len(o.IfName) {
		if c := o.IfName[i]; c <= ' ' || c >= 0x7f || c == '/' || c == ':' {
			return false
		}
	}
	return true
}

// validName is CNI's rule for container IDs and network names (libcni, specification section 3).
func validName(s string) bool {
	for i := range len(s) {
		c := s[i]
		alnum := c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9'
		if !alnum && (i == 0 || c != '_' && c != '.' && c != '-') {
			return false
		}
	}
	return s != ""
}

// text is the record as a link's target: fields apart by one space, "-" for unset ones.
func (r *Record) text() (string, error) {
	b := make([]byte, 0, 128)
	b = append(b, recordVersion+" "...)
	for i, a := range r.Addrs {
		if i > 0 {
			b = append(b, ',')
		}
		b = a.AppendTo(b)
		for _, p := range r.Prefixes {
			if p.Addr() == a {
				b = append(b, '/')
				b = strconv.AppendInt(b, int64(p.Bits()), 10)
				break
			}
		}
	}
	b = append(b, ' ')
	b = append(b, orDash(r.Boot)...)
	b = append(b, ' ')
	b = strconv.AppendUint(b, r.NetNS, 10)
	b = append(b, ' ')
	b = append(b, orDash(r.Link)...)
	b = append(b, ' ')
	b = strconv.AppendInt(b, int64(r.Index), 10)
	b = append(b, ' ')
	b = append(b, orDash(r.MAC)...)
	if !r.Owner.plain() {
		b = append(b, ' ')
		b = strconv.AppendQuoteToASCII(b, r.Owner.content())
	}
	if len(b) > maxRecord {
		return "", invalidError("the record of " + strconv.Quote(r.Owner.String()) + " doesn't fit into " + strconv.Itoa(maxRecord) + " bytes")
	}
	return string(b), nil
}

// parseRecord is text's inverse. ok is false for whatever text can't have written under that name.
func parseRecord(name, text string) (r Record, ok bool) {
	fields := strings.SplitN(text, " ", 8)
	if len(fields) < 7 || fields[0] != recordVersion {
		return Record{}, false
	}
	if fields[1] != "" {
		for a := range strings.SplitSeq(fields[1], ",") {
			a, bits, prefixed := strings.Cut(a, "/")
			addr, ok := parseAddr(a)
			if !ok {
				return Record{}, false
			}
			r.Addrs = append(r.Addrs, addr)
			if prefixed {
				n, err := strconv.Atoi(bits)
				p := netip.PrefixFrom(addr, n)
				if err != nil || !p.IsValid() || strconv.Itoa(n) != bits {
					return Record{}, false
				}
				r.Prefixes = append(r.Prefixes, p)
			}
		}
	}
	var err error
	if r.NetNS, err = strconv.ParseUint(fields[3], 10, 64); err != nil {
		return Record{}, false
	}
	if r.Index, err = strconv.Atoi(fields[5]); err != nil || r.Index < 0 {
		return Record{}, false
	}
	r.Boot, r.Link, r.MAC = unDash(fields[2]), unDash(fields[4]), unDash(fields[6])
	if len(fields) == 8 {
		content, err := strconv.Unquote(fields[7])
		if err != nil {
			return Record{}, false
		}
		var form leaseForm
		if r.Owner, form = parseLease(content); form != wholeLease && form != oldLease {
			return Record{}, false
		}
	} else {
		id, ifname, found := strings.Cut(name, ":")
		if !found {
			return Record{}, false
		}
		r.Owner = Owner{ContainerID: id, IfName: ifname}
	}
	return r, recordName(r.Owner) == name && r.Owner.plain() == (len(fields) == 7)
}

// validEvidence refuses evidence that couldn't be read back.
func (r *Record) validEvidence() error {
	for _, s := range []string{r.Boot, r.Link, r.MAC} {
		if s == "-" {
			return invalidError(`evidence can't be "-"`)
		}
		for i := range len(s) {
			if s[i] <= ' ' || s[i] >= 0x7f || s[i] == '/' {
				return invalidError("evidence " + strconv.Quote(s) + " holds more than printable ASCII without slash and space")
			}
		}
	}
	if len(r.Boot) > 64 || len(r.Link) > 64 || len(r.MAC) > 64 || r.Index < 0 {
		return invalidError("evidence is longer than 64 bytes, or has a negative index")
	}
	return nil
}

func orDash(s string) string {
	if s == "" {
		return "-"
	}
	return s
}

func unDash(s string) string {
	if s == "-" {
		return ""
	}
	return s
}

// parseAddr takes an address only in the one spelling that names its lease.
func parseAddr(s string) (netip.Addr, bool) {
	a, err := netip.ParseAddr(s)
	if err != nil || a.Zone() != "" || a.Is4In6() || a.String() != s {
		return netip.Addr{}, false
	}
	return a, true
}
