// SPDX-License-Identifier: Apache-2.0

package rtnl

import (
	"os/exec"
	"testing"

	"github.com/swiftcni/swiftcni/internal/test/nstest"
	"golang.org/x/sys/unix"
)

func TestAtLeast(t *testing.T) {
	for release, want := range map[string]bool{"6.8.0": true, "6.18.44-fc-v657": true, "7.0": true, "10.1.2": true, "6.12.95-amd64": true,
		"6.7.12": false, "5.10.0-32-amd64": false, "4.19": false, "": false, "6": false, "x": false} {
		field := make([]byte, 65)
		copy(field, release)
		if atLeast(field, 6, 8) != want {
			t.Errorf("%q at least 6.8: %v, want %v", release, !want, want)
		}
	}
}

// A link is asked about by an ioctl where the kernel tells the truth by it: an end whose peer is
// down has no carrier.
func TestHasCarrier(t *testing.T) {
	ns := nstest.New(t, "carrier")
	nstest.Run(t, ns, "ip", "link", "add", "here", "index", "100", "type", "veth", "peer", "name", "there")
	nstest.In(t, ns, func() {
		c, err := Dial(nil)
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		var uts unix.Utsname
		if err := unix.Uname(&uts); err != nil {
			t.Fatal(err)
		}
		truthful := atLeast(uts.Release[:], 6, 8)
		if c.hasCarrier(100) || c.hasCarrier(12345) {
			t.Error("a link that's down, or isn't there, has a carrier")
		}
		if out, err := exec.Command("sh", "-c", "ip link set here up && ip link set there up").CombinedOutput(); err != nil {
			t.Fatalf("%v\n%s", err, out)
		}
		if c.hasCarrier(100) != truthful {
			t.Errorf("a link that's up has a carrier: %v, want %v", !truthful, truthful)
		}
		if l, err := c.LinkByIndex(100); err != nil || l.OperState != OperUp {
			t.Errorf("its state is %s, %v", l.OperState, err)
		}
	})
}
