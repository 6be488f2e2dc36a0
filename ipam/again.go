// SPDX-License-Identifier: Apache-2.0

package ipam

import "golang.org/x/sys/unix"

// reusedName is in the sidecar from the time that an IPv6 address was given that isn't new, until
// the next boot.
const reusedName = "@reused"

// noteReused finds out whether any IPv6 address was given twice since the boot, including those
// that are given now.
func (r *reservation) noteReused() {
	s := r.s
	var st unix.Stat_t
	s.reused = unix.Fstatat(s.side, reusedName, &st, unix.AT_SYMLINK_NOFOLLOW) == nil
	for i := range r.done {
		if !s.reused && r.picks[i].addr.Is6() && !r.isNew(&r.picks[i]) {
			s.reused = true
			// If this fails, the next address that isn't new tries again.
			_ = unix.Mkdirat(s.side, reusedName, 0o700)
		}
	}
}

// isNew reports whether an address is beyond all those that its set has given. If a set has given
// none but others have, the set is new to the network, and its addresses are too.
func (r *reservation) isNew(p *pick) bool {
	if p.hint.existed {
		return p.hint.last.Is6() && p.addr.Compare(p.hint.last) > 0
	}
	return !r.picks[0].hint.existed
}
