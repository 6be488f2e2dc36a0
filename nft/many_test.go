// SPDX-License-Identifier: Apache-2.0

package nft

import (
	"fmt"
	"testing"

	"github.com/swiftcni/swiftcni/internal/test/nstest"
)

// Any number of senders takes the addresses of dead ones over in one transaction.
func TestManySendersTakeAddressesOver(t *testing.T) {
	ns := nstest.New(t, "host")
	c := dial(t, ns)
	var list, others []Sender
	for i := range 1500 {
		addr := fmt.Sprintf("10.%d.%d.2/24", 1+i/250, i%250)
		list, others = append(list, attachment(fmt.Sprint("c", i), addr)), append(others, attachment(fmt.Sprint("dead", i), addr))
	}
	must(t, c.Attach(others...))
	must(t, c.Attach(list...))
	for _, a := range list {
		must(t, c.CheckSender(a))
	}
}
