// SPDX-License-Identifier: Apache-2.0

package main

import (
	"encoding/binary"
	"fmt"
	"strings"
	"testing"
)

// A program chooses its name, and no finding that has it can move the cursor.
func TestFindingsArePrintable(t *testing.T) {
	var b strings.Builder
	if err := printFindings(&b, []finding{{Kind: "port-conflict", Problem: "a\x1b[2Jb\r (process 7) listens…", Remedy: "kill \x1b7"}}); err != nil {
		t.Fatal(err)
	}
	if got, want := b.String(), "port-conflict         host\n    a?[2Jb? (process 7) listens…\n    remedy: kill ?7\n"; got != want {
		t.Errorf("got  %q\nwant %q", got, want)
	}
}

// procfs prints an address as words in the machine's order.
func TestListenersAddress(t *testing.T) {
	for want, addr := range map[string][]byte{
		"127.0.0.1": {127, 0, 0, 1}, "fd00::1": {0xfd, 15: 1}, "10.1.2.3": {10: 0xff, 11: 0xff, 12: 10, 13: 1, 14: 2, 15: 3},
	} {
		text := ""
		for i := 0; i < len(addr); i += 4 {
			text += fmt.Sprintf("%08X", binary.NativeEndian.Uint32(addr[i:]))
		}
		if l, ok := parseListener(text + ":1F90"); !ok || l.addr.String() != want || l.port != 8080 {
			t.Errorf("%s: %+v, %v, want %s", text, l, ok, want)
		}
	}
}
