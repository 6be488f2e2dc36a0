// SPDX-License-Identifier: Apache-2.0

package main

import (
	"testing"

	"github.com/swiftcni/swiftcni/internal/test/nstest"
)

// A bridge that's gone between the list of links and that of its addresses isn't an error, nor a
// bridge.
func TestBridgeThatGoesMeanwhile(t *testing.T) {
	nstest.Kernel(t)
	nstest.Run(t, "", "ip", "link", "add", "goes0", "type", "bridge")
	l, err := readLinks()
	if err != nil {
		t.Fatal(err)
	}
	defer l.close()
	index, err := l.conn.Index("goes0")
	if err != nil || l.names[index] != "goes0" {
		t.Fatalf("index %d, %v: %v", index, err, l.names)
	}
	nstest.Run(t, "", "ip", "link", "delete", "goes0")
	if err := l.readBridgeAddrs(l.conn); err != nil || l.names[index] != "" || l.bridges[index].Index != 0 {
		t.Errorf("%v, %q", err, l.names[index])
	}
}
