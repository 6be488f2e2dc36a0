// SPDX-License-Identifier: Apache-2.0

package cni

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net/netip"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/swiftcni/swiftcni/internal/fault"
	"github.com/swiftcni/swiftcni/internal/names"
	"github.com/swiftcni/swiftcni/internal/netconf"
	"github.com/swiftcni/swiftcni/internal/test/nstest"
	"github.com/swiftcni/swiftcni/ipam"
	"github.com/swiftcni/swiftcni/nft"
	"github.com/swiftcni/swiftcni/rtnl"
)

// network parses a configuration with its own state directory and bridge, and removes the bridge at the end.
func network(t testing.TB, keys string) *Network {
	t.Helper()
	return networkNamed(t, fmt.Sprint("net", os.Getpid()), keys)
}

func networkNamed(t testing.TB, name, keys string) *Network {
	t.Helper()
	dir := t.TempDir()
	text := fmt.Sprintf(`{ "cniVersion": "1.1.0", "name": %q, "type": "bridge", "bridge": "br%d", %s }`,
		name, os.Getpid(), strings.ReplaceAll(keys, "DIR", dir))
	n, err := Parse([]byte(text))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { removeLink(t, n.conf.Bridge.Name) })
	return n
}

func removeLink(t testing.TB, name string) {
	t.Helper()
	conn, err := rtnl.Dial(nil)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	var b rtnl.Batch
	b.Delete(rtnl.Link{Name: name})
	if err := conn.Do(&b); err != nil && !errors.Is(err, fs.ErrNotExist) {
		t.Error(err)
	}
}

const masqueraded = `"isGateway": true, "ipMasq": true,
  "ipam": { "type": "host-local", "subnet": "10.9.0.0/24", "routes": [ { "dst": "0.0.0.0/0" } ], "dataDir": "DIR" }`

// left lists what an owner still has: links, elements, leases.
func left(t testing.TB, n *Network, a Attachment) (list []string) {
	t.Helper()
	conn, err := rtnl.Dial(nil)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	for l, err := range conn.Links(rtnl.LinkFilter{Kind: "veth"}) {
		if err != nil {
			t.Fatal(err)
		}
		for attempt := range names.Attempts {
			if l.Name == names.Of(n.conf.Name, a.ContainerID, a.IfName, attempt).Link {
				list = append(list, "link "+l.Name)
			}
		}
	}
	rules, err := nft.Dial()
	if err != nil {
		t.Fatal(err)
	}
	defer rules.Close()
	for at, err := range rules.Senders(n.conf.Name) {
		if err != nil {
			t.Fatal(err)
		}
		if at.Owner.ContainerID == a.ContainerID && at.Owner.IfName == a.IfName {
			list = append(list, fmt.Sprintf("element %v", at))
		}
	}
	if n.conf.IPAM.Plugin != netconf.HostLocal {
		return list
	}
	store, err := ipam.OpenExisting(t.Context(), n.conf.IPAM.DataDir, n.conf.Name)
	if errors.Is(err, fs.ErrNotExist) {
		return list
	}
	if err != nil {
		t.Fatal(err)
	}
	defer store.Close()
	if err := store.Check(); err != nil {
		t.Error(err)
	}
	if r, ok, _ := store.Lookup(names.Lessee(a)); ok {
		list = append(list, fmt.Sprintf("lease %v", r))
	}
	return list
}

func attachment(t testing.TB, id string) Attachment {
	return Attachment{ContainerID: id, IfName: "eth0", NetNS: nstest.New(t, id)}
}

func TestAttachAndDetach(t *testing.T) {
	n := network(t, masqueraded)
	a := attachment(t, "c1")
	res, err := Attach(t.Context(), n, a)
	if err != nil {
		t.Fatal(err)
	}
	if got := res.IPs[0].Address; got != netip.MustParsePrefix("10.9.0.2/24") {
		t.Error("address", got)
	}
	if err := Check(t.Context(), n, a, res); err != nil {
		t.Error("check:", err)
	}
	if err := Status(t.Context(), n); err != nil {
		t.Error("status:", err)
	}
	if err := Detach(t.Context(), n, a); err != nil {
		t.Error("detach:", err)
	}
	if l := left(t, n, a); l != nil {
		t.Error("left behind:", l)
	}
	if err := Detach(t.Context(), n, a); err != nil {
		t.Error("detach twice:", err)
	}
}

// Goroutines attach and detach at once: no address is given twice, and descriptors and threads end as they began.
func TestAttachConcurrently(t *testing.T) {
	n := network(t, masqueraded)
	const containers, rounds = 16, 6
	var atts []Attachment
	for i := range containers {
		atts = append(atts, attachment(t, fmt.Sprintf("c%d", i)))
	}
	each := func(fn func(Attachment) error) {
		t.Helper()
		var wg sync.WaitGroup
		for _, a := range atts {
			wg.Go(func() {
				if err := fn(a); err != nil {
					t.Errorf("%s: %v", a.ContainerID, err)
				}
			})
		}
		wg.Wait()
	}
	fds, threads := count(t, "/proc/self/fd"), 0
	for round := range rounds {
		var mu sync.Mutex
		seen := map[netip.Prefix]string{}
		each(func(a Attachment) error {
			res, err := Attach(t.Context(), n, a)
			if err != nil {
				return err
			}
			mu.Lock()
			defer mu.Unlock()
			if other := seen[res.IPs[0].Address]; other != "" {
				return fmt.Errorf("shares %v with %s", res.IPs[0].Address, other)
			}
			seen[res.IPs[0].Address] = a.ContainerID
			return Check(t.Context(), n, a, res)
		})
		each(func(a Attachment) error { return Detach(t.Context(), n, a) })
		// Memory of links and elements is still being freed, by threads that hold a descriptor meanwhile.
		f, th := 0, 0
		for deadline := time.Now().Add(time.Minute); time.Now().Before(deadline); runtime.Gosched() {
			f, th = count(t, "/proc/self/fd"), count(t, "/proc/self/task")
			if f <= fds {
				break
			}
		}
		if round == 0 { // some descriptors of before may have been an earlier test's, being freed as well
			fds, threads = min(f, fds), th
		}
		// A thread that's left behind by each attach or detach would make more of them.
		if f > fds || th > threads+4*containers {
			t.Errorf("round %d: %d descriptors and %d threads, before %d and after the first round %d", round, f, th, fds, threads)
		}
	}
	for _, a := range atts {
		if l := left(t, n, a); l != nil {
			t.Errorf("%s left behind: %v", a.ContainerID, l)
		}
	}
}

func count(t testing.TB, dir string) int {
	t.Helper()
	list, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	return len(list)
}

// An attach that is refused at any of its steps takes back what it did, and the error is the first one.
func TestAttachUndoes(t *testing.T) {
	for name, tt := range map[string]struct {
		keys    string
		prepare func(t *testing.T, n *Network, a Attachment)
		want    string
		as      func(error) bool
	}{
		"name taken in the container": {
			keys: masqueraded,
			prepare: func(t *testing.T, _ *Network, a Attachment) {
				nstest.Run(t, a.NetNS, "ip", "link", "add", "eth0", "type", "veth", "peer", "name", "x0")
			},
			want: `container veth name ("eth0") peer provided`,
			as:   isType[*rtnl.Error],
		},
		"route refused": {
			keys: `"ipam": { "type": "host-local", "subnet": "10.9.0.0/24", "dataDir": "DIR",
				"routes": [ { "dst": "192.0.2.0/24", "gw": "203.0.113.1" } ] }, "ipMasq": true`,
			want: "route 192.0.2.0/24 via 203.0.113.1",
			as:   isType[*rtnl.Error],
		},
		"bridge is something else": {
			keys: masqueraded,
			prepare: func(t *testing.T, n *Network, _ Attachment) {
				nstest.Run(t, "", "ip", "link", "add", n.conf.Bridge.Name, "type", "veth", "peer", "name", "x0")
			},
			want: "already exists but is not a bridge",
		},
		"range full": {
			keys: `"ipam": { "type": "host-local", "subnet": "10.9.0.0/30", "dataDir": "DIR" }`,
			prepare: func(t *testing.T, n *Network, _ Attachment) {
				other := attachment(t, "other")
				if _, err := Attach(t.Context(), n, other); err != nil {
					t.Fatal(err)
				}
				t.Cleanup(func() { _ = Detach(context.Background(), n, other) })
			},
			want: "no IP addresses available in range set: 10.9.0.1-10.9.0.2",
			as:   isType[*ipam.ExhaustedError],
		},
		"address conflict on the bridge": {
			keys: masqueraded,
			prepare: func(t *testing.T, n *Network, _ Attachment) {
				nstest.Run(t, "", "ip", "link", "add", "name", n.conf.Bridge.Name, "up", "type", "bridge")
				nstest.Run(t, "", "ip", "addr", "add", "10.8.0.1/24", "dev", n.conf.Bridge.Name)
			},
			want: "already has an IP address different from 10.9.0.1/24",
		},
	} {
		t.Run(name, func(t *testing.T) {
			n := network(t, tt.keys)
			a := attachment(t, "c1")
			if tt.prepare != nil {
				tt.prepare(t, n, a)
			}
			_, err := Attach(t.Context(), n, a)
			if err == nil || !strings.Contains(err.Error(), tt.want) {
				t.Fatalf("got %v, want %q", err, tt.want)
			}
			if tt.as != nil && !tt.as(err) {
				t.Errorf("the cause isn't there: %#v", err)
			}
			if l := left(t, n, a); l != nil {
				t.Error("left behind:", l)
			}
			if err := Detach(t.Context(), n, a); err != nil {
				t.Error("detach:", err)
			}
		})
	}
}

func isType[T error](err error) bool {
	var to T
	return errors.As(err, &to)
}

// The conflicting address stays as it was, and so does the bridge.
func TestConflictLeavesTheBridgeAlone(t *testing.T) {
	n := network(t, masqueraded)
	nstest.Run(t, "", "ip", "link", "add", "name", n.conf.Bridge.Name, "up", "type", "bridge")
	nstest.Run(t, "", "ip", "addr", "add", "10.8.0.1/24", "dev", n.conf.Bridge.Name)
	before := nstest.Run(t, "", "ip", "-4", "-o", "addr", "show", "dev", n.conf.Bridge.Name)
	if _, err := Attach(t.Context(), n, attachment(t, "c1")); err == nil {
		t.Fatal("no error")
	}
	if after := nstest.Run(t, "", "ip", "-4", "-o", "addr", "show", "dev", n.conf.Bridge.Name); after != before {
		t.Errorf("was\n%s\nis\n%s", before, after)
	}
}

// Attachments of one container to one network through two links are two.
func TestTwoLinksOfOneContainer(t *testing.T) {
	n := network(t, masqueraded)
	first := attachment(t, "c1")
	second := first
	second.IfName = "eth1"
	for _, a := range []Attachment{first, second} {
		if _, err := Attach(t.Context(), n, a); err != nil {
			t.Fatal(a.IfName, err)
		}
	}
	if err := Detach(t.Context(), n, first); err != nil {
		t.Fatal(err)
	}
	if l := left(t, n, first); l != nil {
		t.Error("left behind:", l)
	}
	if l := left(t, n, second); len(l) != 3 {
		t.Errorf("the second has %v, want link, element, lease", l)
	}
	if err := Detach(t.Context(), n, second); err != nil {
		t.Fatal(err)
	}
}

func TestGCKeepsValidAttachments(t *testing.T) {
	n := network(t, masqueraded)
	var atts []Attachment
	for _, id := range []string{"c1", "c2", "c3"} {
		a := attachment(t, id)
		if _, err := Attach(t.Context(), n, a); err != nil {
			t.Fatal(err)
		}
		atts = append(atts, a)
	}
	if err := GC(t.Context(), n, []Attachment{{ContainerID: "c2", IfName: "eth0"}}); err != nil {
		t.Fatal(err)
	}
	for i, want := range []int{0, 3, 0} {
		if l := left(t, n, atts[i]); len(l) != want {
			t.Errorf("%s has %v, want %d things", atts[i].ContainerID, l, want)
		}
	}
	if err := GC(t.Context(), n, []Attachment{}); err != nil {
		t.Fatal(err)
	}
	if l := left(t, n, atts[1]); l != nil {
		t.Error("left behind:", l)
	}
}

// Without a list only the dead go.
func TestGCWithoutAListActsOnProof(t *testing.T) {
	n := network(t, masqueraded)
	live, dead := attachment(t, "live"), attachment(t, "dead")
	for _, a := range []Attachment{live, dead} {
		if _, err := Attach(t.Context(), n, a); err != nil {
			t.Fatal(err)
		}
	}
	removeLink(t, names.Of(n.conf.Name, "dead", "eth0", 0).Link)
	if err := Reclaim(t.Context(), n); err != nil {
		t.Fatal(err)
	}
	if l := left(t, n, dead); l != nil {
		t.Error("left behind:", l)
	}
	if l := left(t, n, live); len(l) != 3 {
		t.Errorf("the live one has %v", l)
	}
	if err := Detach(t.Context(), n, live); err != nil {
		t.Fatal(err)
	}
}

// A lease whose link is provably gone is given again, to its owner and to others.
func TestDeadAttachmentsGiveWay(t *testing.T) {
	n := network(t, `"ipam": { "type": "host-local", "subnet": "10.9.0.0/30", "dataDir": "DIR" }`)
	dead := attachment(t, "dead")
	if _, err := Attach(t.Context(), n, dead); err != nil {
		t.Fatal(err)
	}
	removeLink(t, names.Of(n.conf.Name, "dead", "eth0", 0).Link)
	if _, err := Attach(t.Context(), n, dead); err != nil {
		t.Fatal("the same owner again:", err)
	}
	if _, err := Attach(t.Context(), n, attachment(t, "c2")); err == nil {
		t.Fatal("a live container's address was given away")
	}
	removeLink(t, names.Of(n.conf.Name, "dead", "eth0", 0).Link)
	next := attachment(t, "c3")
	if _, err := Attach(t.Context(), n, next); err != nil {
		t.Fatal("another owner:", err)
	}
	if err := Detach(t.Context(), n, next); err != nil {
		t.Fatal(err)
	}
}

func TestEmbedderGetsValidation(t *testing.T) {
	n := network(t, masqueraded)
	for name, a := range map[string]Attachment{
		"no id":        {IfName: "eth0", NetNS: "/proc/thread-self/ns/net"},
		"climbing id":  {ContainerID: "../x", IfName: "eth0", NetNS: "/proc/thread-self/ns/net"},
		"no namespace": {ContainerID: "c1", IfName: "eth0"},
		"own":          {ContainerID: "c1", IfName: "eth0", NetNS: "/proc/thread-self/ns/net"},
		"a file":       {ContainerID: "c1", IfName: "eth0", NetNS: filepath.Join(t.TempDir(), "nothing")},
		"long ifname":  {ContainerID: "c1", IfName: "abcdefghijklmnop", NetNS: "/proc/thread-self/ns/net"},
	} {
		if _, err := Attach(t.Context(), n, a); !isType[*Error](err) || fault.Of(err).Code == CodeInternal {
			t.Errorf("%s: %v", name, err)
		}
	}
	if _, err := os.Stat(filepath.Join(n.conf.IPAM.DataDir, n.conf.Name)); !os.IsNotExist(err) {
		t.Error("something was touched:", err)
	}
}

// The directory of the leases is wiped while containers run: nobody's address is given away, and DEL still works.
func TestWipedStoreIsRestored(t *testing.T) {
	n := network(t, `"isGateway": true, "ipMasq": true, "ipam": { "type": "host-local", "dataDir": "DIR/leases",
		"ranges": [ [ { "subnet": "10.9.0.0/24" } ], [ { "subnet": "fd00:9::/64" } ] ] }`)
	var atts []Attachment
	given := map[netip.Prefix]bool{}
	attach := func(id string) {
		t.Helper()
		a := attachment(t, id)
		res, err := Attach(t.Context(), n, a)
		if err != nil {
			t.Fatal(id, err)
		}
		for _, ip := range res.IPs {
			if given[ip.Address] {
				t.Errorf("%s got %v, which another one has", id, ip.Address)
			}
			given[ip.Address] = true
		}
		atts = append(atts, a)
	}
	attach("c1")
	attach("c2")
	if err := os.RemoveAll(n.conf.IPAM.DataDir); err != nil {
		t.Fatal(err)
	}
	attach("c3")
	if _, err := Attach(t.Context(), n, atts[0]); fault.Of(err).Code != CodeAttached {
		t.Error("a live owner was attached again:", err)
	}
	for _, a := range atts {
		if l := left(t, n, a); len(l) != 3 {
			t.Errorf("%s has %v, want link, elements, leases", a.ContainerID, l)
		}
		if err := Detach(t.Context(), n, a); err != nil {
			t.Error(err)
		}
		if l := left(t, n, a); l != nil {
			t.Errorf("%s left behind: %v", a.ContainerID, l)
		}
	}
}
