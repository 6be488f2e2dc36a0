// SPDX-License-Identifier: Apache-2.0

package ipam

import (
	"encoding/hex"
	"hash/fnv"
	"net"
	"net/netip"
	"strconv"
	"strings"
)

// Owner is an owner of leases: an interface of a container, by the names that CNI gives them. A
// lease that host-local wrote before 0.7 names no interface.
type Owner struct{ ContainerID, IfName string }

// String is the owner as "c1/eth0".
func (o Owner) String() string { return o.ContainerID + "/" + o.IfName }

// Record is the sidecar's knowledge of an owner: its addresses, and the evidence that can prove its
// death. A record without a Boot has no evidence. Only DEL and GC end its leases.
type Record struct {
	Owner Owner
	Addrs []netip.Addr // of all its leases in this network
	// Prefixes are addresses with their subnets' lengths, as they were given. They are hints.
	// Addresses that host-local gave have none, and some may be of addresses that aren't held any
	// more.
	Prefixes []netip.Prefix

	Boot  string           // boot ID, /proc/sys/kernel/random/boot_id
	NetNS uint64           // inode of the host-side network namespace
	Link  string           // name of the host-side link
	Index int              // its index
	MAC   net.HardwareAddr // its hardware address, or nil

	// TrueBoot says that Boot is known to be the kernel's own. Anybody can mount a file over the
	// kernel's, so two different IDs prove two boots only if both are known. It's set for
	// [Request].Alive and by [Store.Records].
	TrueBoot bool
	// Shared says that the record may have been made on another host: its directory is on a file
	// system that several hosts can use, or on one of which that isn't known. It's set whenever
	// TrueBoot is.
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
// can hold a colon. An owner that doesn't look like CNI's has a hash as its name, and its record's
// text repeats the owner. Names of other things in the sidecar begin with "@", and names of records
// never do.
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

// text is the record as a link's target: fields separated by one space, "-" for unset ones.
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
	b = appendMAC(b, r.MAC)
	if !r.Owner.plain() {
		b = append(b, ' ')
		b = strconv.AppendQuoteToASCII(b, r.Owner.content())
	}
	if len(b) > maxRecord {
		return "", invalidError("the record of " + strconv.Quote(r.Owner.String()) + " doesn't fit into " + strconv.Itoa(maxRecord) + " bytes")
	}
	return string(b), nil
}

// parseRecord is the inverse of text. ok is false for a string that text can't have written under
// that name.
func parseRecord(name, text string) (r Record, ok bool) {
	var array [8]string
	fields := split(array[:0], text)
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
	r.Boot, r.Link = unDash(fields[2]), unDash(fields[4])
	if r.MAC, ok = parseMAC(fields[6]); !ok {
		return Record{}, false
	}
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
	for _, s := range []string{r.Boot, r.Link} {
		if s == "-" {
			return invalidError(`evidence can't be "-"`)
		}
		for i := range len(s) {
			if s[i] <= ' ' || s[i] >= 0x7f || s[i] == '/' {
				return invalidError("evidence " + strconv.Quote(s) + " holds more than printable ASCII without slash and space")
			}
		}
	}
	if len(r.Boot) > 64 || len(r.Link) > 64 || r.Index < 0 {
		return invalidError("evidence is longer than 64 bytes, or has a negative index")
	}
	if n := len(r.MAC); n != 0 && n != 6 && n != 8 && n != 20 {
		return invalidError("evidence has a hardware address of " + strconv.Itoa(n) + " bytes")
	}
	return nil
}

// split appends the fields of a record's text: the last of eight, which is quoted, may hold spaces.
func split(fields []string, text string) []string {
	for found := true; found; {
		if len(fields) == 7 {
			return append(fields, text)
		}
		var field string
		field, text, found = strings.Cut(text, " ")
		fields = append(fields, field)
	}
	return fields
}

// appendMAC appends a hardware address as text, "-" for none.
func appendMAC(b []byte, mac net.HardwareAddr) []byte {
	if len(mac) == 0 {
		return append(b, '-')
	}
	for i := range mac {
		if i > 0 {
			b = append(b, ':')
		}
		b = hex.AppendEncode(b, mac[i:i+1])
	}
	return b
}

// parseMAC is appendMAC's inverse. It takes an address only in the one spelling that appendMAC has.
func parseMAC(s string) (mac net.HardwareAddr, ok bool) {
	if s == "-" {
		return nil, true
	}
	mac, err := net.ParseMAC(s)
	if err != nil {
		return nil, false
	}
	var spelled [64]byte
	return mac, string(appendMAC(spelled[:0], mac)) == s
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
