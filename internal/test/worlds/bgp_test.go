// SPDX-License-Identifier: Apache-2.0

package worlds_test

import (
	"fmt"
	"os"
	"os/exec"
	"slices"
	"strings"
	"testing"
	"time"
)

// A bgpNode is a host whose containers' subnets bird announces to the other host. N is 1 or 2.
type bgpNode struct {
	*cnitool
	n    int
	bird *exec.Cmd
}

// bgpNetwork is the network of one host. Containers keep their addresses on their way to the other
// host's, so nothing is masqueraded: each has a way back.
const bgpNetwork = `{
  "cniVersion": "1.1.0",
  "name": "world",
  "plugins": [
    { "type": "bridge", "bridge": "pods", "isDefaultGateway": true,
      "ipam": { "type": "host-local", "ranges": [ [ { "subnet": "10.244.%[1]d.0/24" } ], [ { "subnet": "fd00:244:%[1]d::/64" } ] ] } },
    { "type": "portmap", "capabilities": { "portMappings": true } },
    { "type": "firewall" }
  ]
}`

// bgpDaemon announces what the bridge's addresses say, and puts into the kernel what the other host
// announces.
const bgpDaemon = `router id 10.250.0.%[1]d;
protocol device { }
protocol direct { ipv4; ipv6; interface "pods"; }
protocol kernel kernel4 { ipv4 { import none; export where source = RTS_BGP; }; }
protocol kernel kernel6 { ipv6 { import none; export where source = RTS_BGP; }; }
protocol bgp peer {
  local 10.250.0.%[1]d as 65000;
  neighbor 10.250.0.%[2]d as 65000;
  direct;
  connect delay time 1;
  ipv4 { import all; export where source = RTS_DEVICE; next hop self; };
  ipv6 { import all; export where source = RTS_DEVICE; next hop self; };
}
`

func newBGPNode(t *testing.T, n int) *bgpNode {
	t.Helper()
	b := &bgpNode{cnitool: &cnitool{host: newHost(t), client: buildCnitool(t)}, n: n}
	b.write("/etc/cni/net.d/world.conflist", fmt.Sprintf(bgpNetwork, n))
	b.write("/run/bird.conf", fmt.Sprintf(bgpDaemon, n, 3-n))
	if _, err := b.NewNetNS("c1"); err != nil {
		t.Fatal(err)
	}
	return b
}

// startBird starts the daemon, which shows its log if the test fails.
func (b *bgpNode) startBird() {
	b.t.Helper()
	log, err := os.CreateTemp(b.scratch, "bird-")
	if err != nil {
		b.t.Fatal(err)
	}
	defer log.Close()
	b.bird = b.Command("bird", "-f", "-c", "/run/bird.conf", "-s", "/run/bird.ctl", "-P", "/run/bird.pid")
	b.bird.Stdout, b.bird.Stderr = log, log
	if err := b.bird.Start(); err != nil {
		b.t.Fatal(err)
	}
	b.t.Cleanup(func() {
		var state string
		if b.t.Failed() {
			state, _ = b.Run("birdc", "-s", "/run/bird.ctl", "show", "protocols", "all")
			routes, _ := b.Run("birdc", "-s", "/run/bird.ctl", "show", "route", "all")
			state += routes
		}
		b.Close()
		_ = b.bird.Wait()
		if text, _ := os.ReadFile(log.Name()); b.t.Failed() {
			b.t.Logf("bird of host %d says\n%s\n%s", b.n, text, state)
		}
	})
}

// learned lists the destinations that bird put into the kernel.
func (b *bgpNode) learned() []string {
	b.t.Helper()
	var list []string
	for _, family := range []string{"-4", "-6"} {
		for line := range strings.Lines(b.do("ip", family, "route", "show", "proto", "bird")) {
			if words := strings.Fields(line); len(words) > 0 {
				list = append(list, words[0])
			}
		}
	}
	return list
}

// wantLearned waits for exactly these routes.
func (b *bgpNode) wantLearned(when string, want ...string) {
	b.t.Helper()
	began := time.Now()
	eventually(b.t, fmt.Sprintf("routes %q, %s", want, when), func() bool { return slices.Equal(b.learned(), want) })
	b.t.Logf("%s: host %d has routes %q after %v", when, b.n, want, time.Since(began).Round(10*time.Millisecond))
}

// deaf is a ping that nobody must answer.
func (b *bgpNode) deaf(container, address string) {
	b.t.Helper()
	if out, err := b.in(container, "busybox ping -c1 -W1 "+address); err == nil {
		b.t.Errorf("%s reaches %s\n%s", container, address, out)
	}
}

func TestBirdAnnouncesContainersToAnotherHost(t *testing.T) {
	one, two := newBGPNode(t, 1), newBGPNode(t, 2)
	wire(t, one.host, two.host)
	one.must("add", "c1")
	two.must("add", "c1")
	one.deaf("c1", "10.244.2.2")

	one.startBird()
	two.startBird()
	one.wantLearned("both announce", "10.244.2.0/24", "fd00:244:2::/64")
	two.wantLearned("both announce", "10.244.1.0/24", "fd00:244:1::/64")
	one.reaches("c1", "10.244.2.2")
	one.reaches("c1", "fd00:244:2::2")
	two.reaches("c1", "10.244.1.2")
	two.reaches("c1", "fd00:244:1::2")
	one.serve("c1")
	two.wantPage("c1", "10.244.1.2", "80")
	two.wantPage("c1", "10.250.0.1", "8080")

	// The network's bridge stays after its last container, and so does the route to it, for those
	// to come.
	one.must("del", "c1")
	one.wantNothing("detached")
	two.deaf("c1", "10.244.1.2")
	two.wantLearned("the last container ended", "10.244.1.0/24", "fd00:244:1::/64")
	one.do("ip", "link", "delete", "pods")
	two.wantLearned("the bridge ended")
	one.must("add", "c1") // gets the next address, not the last one again
	two.wantLearned("the bridge came back", "10.244.1.0/24", "fd00:244:1::/64")
	two.reaches("c1", "10.244.1.3")

	two.do("birdc", "-s", "/run/bird.ctl", "down")
	one.wantLearned("the other daemon ended")
	two.wantLearned("its own daemon ended")
	two.deaf("c1", "10.244.1.3")
	one.must("del", "c1")
	two.must("del", "c1")
	one.wantNothing("all detached")
	two.wantNothing("all detached")
}
