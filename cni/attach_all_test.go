// SPDX-License-Identifier: Apache-2.0

package cni

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net/netip"
	"testing"

	"github.com/swiftcni/swiftcni/internal/fault"
	"github.com/swiftcni/swiftcni/internal/test/nstest"
	"github.com/swiftcni/swiftcni/ipam"
)

// crowdOf makes containers, and detaches and forgets them at the end.
func crowdOf(t testing.TB, n *Network, prefix string, count int) []Attachment {
	t.Helper()
	list := make([]Attachment, count)
	for i := range list {
		list[i] = attachment(t, fmt.Sprintf("%s%d", prefix, i))
	}
	t.Cleanup(func() {
		for _, a := range list {
			_ = Detach(context.Background(), n, a)
		}
	})
	return list
}

func TestAttachAll(t *testing.T) {
	n := network(t, masqueraded)
	list := crowdOf(t, n, "crowd", 60)
	// One that can't be: no namespace, an interface that's there, an address that another one wants, the same twice.
	list[7].NetNS = "/proc/self/nothing"
	nstest.Run(t, list[13].NetNS, "ip", "link", "add", "eth0", "type", "veth", "peer", "name", "other")
	list[21].Addrs = []netip.Addr{netip.MustParseAddr("10.9.0.200")}
	list[22].Addrs = list[21].Addrs
	list[30] = list[29]
	wrong := map[int]func(error) bool{
		7:  func(err error) bool { return errors.Is(err, fs.ErrNotExist) },
		13: func(err error) bool { return fault.Of(err).Code == CodeAttached },
		22: isType[*ipam.TakenError],
		30: isType[*ipam.DuplicateError],
	}
	outcomes := AttachAll(context.Background(), n, list)
	seen := map[netip.Prefix]int{}
	for i, o := range outcomes {
		if fits := wrong[i]; fits != nil {
			if o.Err == nil || o.Result != nil || !fits(o.Err) {
				t.Errorf("attachment %d: %+v, %v", i, o.Result, o.Err)
			}
			continue
		}
		if o.Err != nil {
			t.Fatalf("attachment %d: %v", i, o.Err)
		}
		addr := o.Result.IPs[0].Address
		if other, twice := seen[addr]; twice {
			t.Errorf("attachments %d and %d have %s", other, i, addr)
		}
		seen[addr] = i
		if err := Check(context.Background(), n, list[i], o.Result); err != nil {
			t.Errorf("attachment %d: %v", i, err)
		}
	}
	for i := range wrong {
		if i == 30 { // which is number 29, and lives
			continue
		}
		if l := left(t, n, list[i]); len(l) > 0 {
			t.Errorf("attachment %d left %v", i, l)
		}
	}
	if got, want := count(t, n.conf.IPAM.DataDir+"/"+n.conf.Name), len(list)-len(wrong)+2; got != want {
		t.Errorf("%d files, want %d: a lease for each, the lock, and the last address", got, want)
	}
	for _, a := range list {
		if err := Detach(context.Background(), n, a); err != nil && a.NetNS != list[7].NetNS {
			t.Error(err)
		}
		if l := left(t, n, a); len(l) > 0 {
			t.Errorf("%s left %v", a.ContainerID, l)
		}
	}
}

// Networks without addresses, with VLANs or with several subnets take other ways to the same end.
func TestAttachAllOtherwise(t *testing.T) {
	for name, keys := range map[string]string{
		"no addresses":    `"mtu": 1400`,
		"several subnets": `"isGateway": true, "ipMasq": true, "ipam": {"type": "host-local", "dataDir": "DIR", "ranges": [[{"subnet": "fd00:9:1::/126"}, {"subnet": "fd00:9:2::/64"}]]}`,
		"guarded":         `"macspoofchk": true, "isGateway": true, "ipam": {"type": "host-local", "dataDir": "DIR", "subnet": "10.9.3.0/24"}`,
	} {
		t.Run(name, func(t *testing.T) {
			n := network(t, keys)
			list := crowdOf(t, n, "other", 5)
			for i, o := range AttachAll(context.Background(), n, list) {
				if o.Err != nil {
					t.Fatalf("attachment %d: %v", i, o.Err)
				}
				if err := Check(context.Background(), n, list[i], o.Result); err != nil {
					t.Errorf("attachment %d: %v", i, err)
				}
			}
		})
	}
}

func TestAttachAllOfNone(t *testing.T) {
	if got := AttachAll(context.Background(), network(t, masqueraded), nil); len(got) != 0 {
		t.Errorf("%v", got)
	}
	n := network(t, `"isGateway": true, "ipam": {"type": "host-local", "dataDir": "DIR", "subnet": "10.9.4.0/29"}`)
	list := crowdOf(t, n, "full", 7)
	failures := 0
	for _, o := range AttachAll(context.Background(), n, list) {
		var full *ipam.ExhaustedError
		if o.Err != nil {
			failures++
			if !errors.As(o.Err, &full) || fault.Of(o.Err).Code != CodeExhausted {
				t.Error(o.Err)
			}
		}
	}
	if failures != 2 { // of 6 addresses one is the gateway's
		t.Errorf("%d failures, want 2", failures)
	}
}

func BenchmarkAttach64(b *testing.B) {
	for name, attach := range map[string]func(*Network, []Attachment){
		"one-by-one": func(n *Network, list []Attachment) {
			for _, a := range list {
				if _, err := Attach(context.Background(), n, a); err != nil {
					b.Fatal(err)
				}
			}
		},
		"all": func(n *Network, list []Attachment) {
			for _, o := range AttachAll(context.Background(), n, list) {
				if o.Err != nil {
					b.Fatal(o.Err)
				}
			}
		},
	} {
		b.Run(name, func(b *testing.B) {
			n := network(b, masqueraded)
			list := crowdOf(b, n, "bench", 64)
			for b.Loop() {
				attach(n, list)
				b.StopTimer()
				for _, a := range list {
					if err := Detach(context.Background(), n, a); err != nil {
						b.Fatal(err)
					}
				}
				b.StartTimer()
			}
		})
	}
}
