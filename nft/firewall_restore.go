// SPDX-License-Identifier: Apache-2.0

package nft

import "golang.org/x/sys/unix"

// The way through iptables' tables is the host's, whoever is attached. So the sets of allowances
// tell which parts an iptables -F removed, and allow putting them back.

// MissingDetours lists the missing parts of the way through iptables' tables, for the families in
// which any address is open: "jump from chain ip filter FORWARD to CNI-FORWARD".
func (c *Conn) MissingDetours() (missing []string, err error) {
	err = c.eachDetour(func(f portFamily, admin string, d detour) error {
		t := filterTable(f).String()
		switch {
		case !d.forward:
			missing = append(missing, "chain "+t+" "+forwardChain)
		case !d.jump:
			missing = append(missing, "jump from chain "+t+" "+forwardChain+" to "+cniForward)
		case !d.accept:
			missing = append(missing, "rule of chain "+t+" "+cniForward)
		case !d.admin:
			missing = append(missing, "jump from chain "+t+" "+cniForward+" to "+admin)
		}
		return nil
	})
	return missing, err
}

// RestoreDetours puts back what [Conn.MissingDetours] lists.
func (c *Conn) RestoreDetours() error {
	return c.eachDetour(func(f portFamily, admin string, d detour) error {
		var b batch
		b.buildDetour(f, admin, d)
		return c.commit(&b, nil)
	})
}

// eachDetour gives the detours that aren't whole. The administrator's chain is the one that ours
// leads to, if any.
func (c *Conn) eachDetour(do func(portFamily, string, detour) error) error {
	es, err := c.listIn(func() ([]set, error) { return []set{open4, open6}, nil })
	if err != nil {
		return err
	}
	used := map[set]bool{}
	for _, e := range es {
		used[e.set] = true
	}
	for _, f := range [...]portFamily{family4, family6} {
		if !used[pick(f, open4, open6)] {
			continue
		}
		admin, err := c.adminOf(f)
		if err != nil {
			return err
		}
		d, err := c.detour(f, admin)
		if err != nil {
			return err
		}
		if d.whole() {
			continue
		}
		if err := do(f, admin, d); err != nil {
			return err
		}
	}
	return nil
}

// adminOf returns the first chain that CNI-FORWARD leads to whatever the packet.
func (c *Conn) adminOf(f portFamily) (admin string, err error) {
	err = c.rules(filterTable(f), cniForward, func(r listedRule) {
		to := ""
		expressions(r.exprs, func(name string, data []byte) {
			if code, chain, ok := verdict(data); name == "immediate" && ok && code == unix.NFT_JUMP {
				to = chain
			}
		})
		if admin == "" && to != "" && jumpsTo(r.exprs, to) {
			admin = to
		}
	})
	if admin == "" {
		admin = DefaultAdminChain
	}
	return admin, err
}
