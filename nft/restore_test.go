// SPDX-License-Identifier: Apache-2.0

package nft

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/swiftcni/swiftcni/internal/test/nstest"
)

// After a flush everything comes back by one transaction, also where there's a lot of it, and what
// another owner had meanwhile is taken over.
func TestRestoreAfterFlush(t *testing.T) {
	nstest.Full(t, "it needs a socket buffer that only root may have")
	ns := nstest.New(t, "restore")
	c := dial(t, ns)
	var as []Sender
	for i := range 1500 {
		a := attachment(fmt.Sprint("c", i), fmt.Sprintf("10.1.%d.%d/16", i/250, i%250+2), fmt.Sprintf("fd00:%d::2/64", i%3))
		if i > 2 { // three of the second family are enough
			a.Masquerade = a.Masquerade[:1]
		}
		as = append(as, guardedBy(a, fmt.Sprint("veth", i), fmt.Sprintf("02:00:00:00:%02x:%02x", i/256, i%256)))
	}
	before := generation(t, c)
	must(t, c.Restore(as))
	if got := generation(t, c) - before; got != 1 {
		t.Errorf("%d transactions", got)
	}
	want := list(t, ns)
	must(t, c.Restore(as))
	if got := list(t, ns); got != want {
		t.Error("restoring again changed the ruleset")
	}
	nstest.Run(t, ns, "nft", "flush", "ruleset")
	must(t, c.Attach(guardedBy(attachment("stranger", "10.1.0.2/16"), "veth0", "02:00:00:00:99:99")))
	must(t, c.Restore(as))
	for _, i := range []int{0, 1, 700, 1499} {
		must(t, c.CheckSender(as[i]))
	}
	wants(t, list(t, ns), false, "stranger", "99:99")
	if sortedLines(list(t, ns)) != sortedLines(want) {
		t.Error("what was restored isn't what was there")
	}
}

// sortedLines doesn't mind in which order things were added. Each number in it is one of those.
func sortedLines(text string) string {
	lines := strings.FieldsFunc(text, func(r rune) bool { return r == '\n' || r == ',' })
	for i := range lines {
		lines[i] = strings.Trim(strings.TrimPrefix(strings.TrimSpace(lines[i]), "elements = {"), " }")
	}
	slices.Sort(lines)
	return strings.Join(lines, "\n")
}

func generation(t *testing.T, c *Conn) uint32 {
	t.Helper()
	_, g, err := c.askIn(nil)
	must(t, err)
	return g
}
