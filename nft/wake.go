// SPDX-License-Identifier: Apache-2.0

package nft

import "fmt"

// Wake wakes one of our tables, by a name of [Filters.Dormant]. With the flag dormant the kernel
// skips all of its rules. Adding a table that exists sets its flags to the given ones, which are
// none (nf_tables_updtable, net/netfilter/nf_tables_api.c).
func (c *Conn) Wake(name string) error {
	for _, t := range []table{masqueradeTable, guardTable} {
		if t.String() == name {
			var b batch
			b.lib().AddTable(t.object())
			return c.commit(&b, nil)
		}
	}
	return fmt.Errorf("nft: wake table %s: it isn't ours", name)
}
