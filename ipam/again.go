// SPDX-License-Identifier: Apache-2.0

package ipam

import "golang.org/x/sys/unix"

// reusedName is in the sidecar, until the next boot, once an IPv6 address was given that isn't new.
const reusedName = "@reused"

// noteReused finds out whether any IPv6 address was given twice since the boot, with those that are
// given now.
func (r *reservation) noteReused() {
	s := r.s
	var st unix.Stat_t
	s.reused = unix.Fstatat(s.side, reusedName, &st, unix.AT_SYMLINK_NOFOLLOW) == nil
	for i := range r.done {
		if !s.reused && r.picks[i].addr.Is6() && !r.isNew(&r.picks[i]) {
			s.reused = true
			_ = unix.Mkdirat(s.side, reusedName, 0o700) // without it the next one that isn't new says so again
		}
	}
}

// isNew tells whether an address is beyond all that its set has given. Where a set has given none,
// it's one that the network didn't have before if others have.
func (r *reservation) isNew(p *pick) bool {
	if p.hint.existed {
		return p.hint.last.Is6() && p.addr.Compare(p.hint.last) > 0
	}
	return !r.picks[0].hint.existed
}
