// SPDX-License-Identifier: Apache-2.0

package kernels

import (
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"testing"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"

	"github.com/swiftcni/swiftcni/nft"
)

// saved is a ruleset with whatever there can be in one.
func saved(t *testing.T, c *nft.Conn) (nft.Sender, []nft.Publication) {
	prefixes := []netip.Prefix{netip.MustParsePrefix("10.1.0.2/25"), netip.MustParsePrefix("fd00:1::2/64")}
	owner := nft.Owner{Network: "mynet", ContainerID: "c1", IfName: "eth0"}
	a := nft.Sender{Owner: owner, Masquerade: prefixes, Guard: &nft.Guard{HostLink: "veth1", MAC: []byte{2, 0, 0, 0, 0, 1}}}
	if err := c.Attach(a); err != nil {
		t.Error(err)
	}
	p := nft.Publication{Owner: owner, Addrs: prefixes, Hairpin: true, Ports: []nft.PortMapping{
		{Protocol: nft.TCP, HostPort: 8080, ContainerPort: 80}, {Protocol: nft.UDP, HostPort: 53, ContainerPort: 53},
		{Protocol: nft.SCTP, HostIP: netip.MustParseAddr("192.0.2.1"), HostPort: 90, ContainerPort: 90}}}
	second := p
	second.Owner.Network, second.Owner.IfName = "b", "eth1"
	second.Addrs = []netip.Prefix{netip.MustParsePrefix("10.2.0.2/32"), netip.MustParsePrefix("fd00:2::2/128")}
	narrow := nft.Publication{Owner: nft.Owner{Network: "mynet", ContainerID: "c2", IfName: "eth0"}, MasqueradeAll: true, Mark: 1 << 20,
		Addrs: []netip.Prefix{netip.MustParsePrefix("10.1.0.3/25")}, Ports: p.Ports[:1],
		Conditions4: []nft.Condition{{Field: nft.Source, Not: true, Prefix: netip.MustParsePrefix("10.0.0.0/9")}, {Field: nft.InLink, Link: "eth*"}}}
	ps := []nft.Publication{p, second, narrow}
	for _, p := range ps {
		if _, err := c.Publish(p); err != nil {
			t.Error(err)
		}
	}
	return a, ps
}

// A host that saves its ruleset boots with it: what a release's nft program lists, it loads, and
// then it's what was saved, to the rules' last byte.
func TestDebiansNftLoadsWhatItLists(t *testing.T) {
	for _, r := range []Release{Bullseye, Bookworm, Trixie} {
		t.Run(string(r), func(t *testing.T) {
			command, err := r.Nft(cache)
			if err != nil {
				t.Fatal(err)
			}
			inNetNS(t, func() {
				c, err := nft.Dial()
				if err != nil {
					t.Error(err)
					return
				}
				defer c.Close()
				a, ps := saved(t, c)
				before := run(t, command, "list", "ruleset")
				path := filepath.Join(t.TempDir(), "saved.nft")
				if err := os.WriteFile(path, []byte(before), 0o644); err != nil {
					t.Error(err)
				}
				run(t, command, "flush", "ruleset")
				run(t, command, "-f", path)
				if diff := cmp.Diff(before, run(t, command, "list", "ruleset")); diff != "" {
					t.Errorf("saved (-), loaded (+):\n%s", diff)
				}
				if err := c.CheckSender(a); err != nil {
					t.Error(err)
				}
				for _, p := range ps {
					if err := c.CheckPublication(p); err != nil {
						t.Error(err)
					}
				}
			})
		})
	}
}

// inNetNS runs fn, and what it starts, in a network namespace that ends with it.
func inNetNS(t *testing.T, fn func()) {
	done := make(chan error)
	go func() {
		runtime.LockOSThread() // the thread ends with the goroutine
		err := unix.Unshare(unix.CLONE_NEWNET)
		if err == nil {
			fn()
		}
		done <- err
	}()
	if err := <-done; err != nil {
		t.Fatal(err)
	}
}

func run(t *testing.T, command []string, args ...string) string {
	out, err := exec.Command(command[0], append(command[1:len(command):len(command)], args...)...).CombinedOutput()
	if err != nil {
		t.Errorf("nft %v: %v\n%s", args, err, out)
	}
	return string(out)
}
