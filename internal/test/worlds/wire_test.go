// SPDX-License-Identifier: Apache-2.0

package worlds_test

import (
	"fmt"
	"os/exec"
	"testing"
)

// wireLink is the link by which a host sees the wire to another.
const wireLink = "wire"

// wire joins two hosts by a link of their own, called [wireLink] on both: the first is 10.250.0.1
// and fd00:250::1 there, the second 10.250.0.2 and fd00:250::2. Nothing of it shows on the machine:
// the pair is made in a namespace that ends at once.
func wire(t *testing.T, first, second *host) {
	t.Helper()
	const pair = `ip link add name one type veth peer name two &&
		ip link set one netns "$0" name "$2" && ip link set two netns "$1" name "$2"`
	cmd := exec.Command("unshare", "--net", "sh", "-c", pair, fmt.Sprint(first.PID()), fmt.Sprint(second.PID()), wireLink)
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("wire: %v\n%s", err, out)
	}
	for i, h := range []*host{first, second} {
		h.do("ip", "address", "add", fmt.Sprintf("10.250.0.%d/24", i+1), "dev", wireLink)
		h.do("ip", "address", "add", fmt.Sprintf("fd00:250::%d/64", i+1), "dev", wireLink, "nodad")
		h.do("ip", "link", "set", wireLink, "up")
	}
}
