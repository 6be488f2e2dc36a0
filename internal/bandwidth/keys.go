// SPDX-License-Identifier: Apache-2.0

package bandwidth

import (
	"math"
	"strconv"
	"time"

	"github.com/swiftcni/swiftcni/cni/spec"
	"github.com/swiftcni/swiftcni/internal/fault"
	"github.com/swiftcni/swiftcni/internal/jsontext"
	"github.com/swiftcni/swiftcni/internal/netconf"
	"github.com/swiftcni/swiftcni/internal/verbs"
	"github.com/swiftcni/swiftcni/rtnl"
)

// limit is the limit for one direction: bits a second, and the bits that may go at once. Zero is no
// limit.
type limit struct{ rate, burst int64 }

// limits are an attachment's, named from the container's side: ingress comes to it.
type limits struct{ ingress, egress limit }

// Keys are the plugin's own. err is the first wrong one.
type Keys struct {
	limits
	err *spec.Error
}

// Read reads the plugin's keys. If any of them is at the top level, those of runtimeConfig don't
// count.
func Read(n *netconf.Network) verbs.Plugin {
	r := n.Reader()
	k := &Keys{}
	var fromRuntime limits
	top := false
	err := r.Object(func(key string) error {
		if key == "runtimeconfig" {
			return r.Object(func(key string) error {
				if key != "bandwidth" {
					return nil
				}
				return r.Object(func(key string) error { _, err := fromRuntime.field(r, key); return err })
			})
		}
		known, err := k.limits.field(r, key)
		top = top || known
		return err
	})
	prefix := ""
	if !top {
		k.limits, prefix = fromRuntime, "runtimeConfig.bandwidth."
	}
	k.err = fault.First(r, err)
	if k.err == nil {
		k.err = k.ingress.problem(prefix + "ingress")
	}
	if k.err == nil {
		k.err = k.egress.problem(prefix + "egress")
	}
	return k
}

// Wrong is the first key that's wrong.
func (k *Keys) Wrong(spec.Attachment) *spec.Error { return k.err }

func (l *limits) field(r *jsontext.Reader, key string) (known bool, err error) {
	var to *int64
	switch key {
	case "ingressrate":
		to = &l.ingress.rate
	case "ingressburst":
		to = &l.ingress.burst
	case "egressrate":
		to = &l.egress.rate
	case "egressburst":
		to = &l.egress.burst
	default:
		return false, nil
	}
	n, ok, err := r.Long()
	if ok && n < 0 {
		r.Invalid("expected 0 to 9223372036854775807, got " + strconv.FormatInt(n, 10))
	} else if ok {
		*to = n
	}
	return true, err
}

// problem is the error in a direction's limit. keys is the beginning of its keys' names.
func (l limit) problem(keys string) *spec.Error {
	wrong := func(key, msg, expected string) *spec.Error { return fault.Expected(keys+key, msg, expected) }
	switch {
	case l.rate != 0 && l.burst == 0:
		return wrong("Burst", "if rate is set, burst must also be set", "")
	case l.rate == 0 && l.burst != 0:
		return wrong("Rate", "if burst is set, rate must also be set", "")
	case uint64(l.burst)/8 >= math.MaxUint32:
		return wrong("Burst", "burst cannot be more than 4GB", "")
	case l.rate != 0 && l.rate < 8:
		return wrong("Rate", "invalid rate: "+strconv.FormatInt(l.rate, 10), "at least 8 bits a second, a byte")
	case l.burst != 0 && l.burst < 8:
		return wrong("Burst", "invalid burst: "+strconv.FormatInt(l.burst, 10), "at least 8 bits, a byte")
	}
	return nil
}

func (l limit) isSet() bool { return l.rate != 0 }

// tbf is the limit in the kernel's form, to the byte as the reference computes it. The bucket's
// time is cut to microseconds, and the traffic of 25 ms may wait, beside a whole burst. The
// reference gives the bucket as a time. A bucket that the kernel can't hold as a time is given in
// bytes.
func (l limit) tbf(link int) rtnl.TBF {
	const microseconds = 1_000_000
	rate, burst := uint64(l.rate)/8, uint64(l.burst)/8
	q := rtnl.TBF{Link: link, Rate: rate, Limit: uint32(min(rate/40+burst, math.MaxUint32))}
	us := burst * microseconds / rate
	if us == 0 || us > uint64(rtnl.MaxBuffer/time.Microsecond) {
		q.Burst = uint32(burst)
		return q
	}
	// In whole ticks, so that the value that is read back is equal.
	q.Buffer = (time.Duration(us) * time.Microsecond).Truncate(rtnl.BufferStep)
	return q
}
