// SPDX-License-Identifier: Apache-2.0

package cni

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/swiftcni/swiftcni/internal/fault"
	"github.com/swiftcni/swiftcni/internal/hostid"
	"github.com/swiftcni/swiftcni/internal/names"
	"github.com/swiftcni/swiftcni/internal/proof"
	"github.com/swiftcni/swiftcni/internal/rules"
	"github.com/swiftcni/swiftcni/internal/test/nstest"
	"github.com/swiftcni/swiftcni/internal/veth"
	"github.com/swiftcni/swiftcni/ipam"
	"github.com/swiftcni/swiftcni/nft"
	"github.com/swiftcni/swiftcni/rtnl"
	"golang.org/x/sys/unix"
)

// A pair is a network of two addresses: the one container lives, the other's namespace has vanished without DEL. Both have
// published a port, and opened a way through the firewall.
type pair struct {
	network    *Network
	live, dead Attachment
	addr       netip.Prefix // of the live one
	link       string       // its host end's
}

const twoAddresses = `"isGateway": true, "ipMasq": true, "ipam": { "type": "host-local", "dataDir": "DIR",
	"ranges": [ [ { "subnet": "10.9.0.0/24", "rangeStart": "10.9.0.2", "rangeEnd": "10.9.0.3" } ] ] }`

func newPair(t *testing.T, live, dead string) *pair { return newPairWith(t, twoAddresses, live, dead) }

func newPairWith(t *testing.T, keys, live, dead string) *pair {
	t.Helper()
	p := &pair{network: network(t, keys)}
	p.live, p.dead = attachment(t, live), attachment(t, dead)
	for i, a := range []Attachment{p.live, p.dead} {
		res, err := Attach(t.Context(), p.network, a)
		if err != nil {
			t.Fatal(err)
		}
		if i == 0 {
			p.addr, p.link = res.IPs[0].Address, res.Interfaces[1].Name
		}
		publishAndOpen(t, p.network, a, res, 8080+i)
	}
	vanish(t, p.network, p.dead)
	t.Cleanup(func() {
		if err := GC(context.Background(), p.network, []Attachment{}); err != nil {
			t.Error(err)
		}
	})
	return p
}

// publishAndOpen publishes a port and opens a way, as portmap and firewall do in a list.
func publishAndOpen(t *testing.T, n *Network, a Attachment, res *Result, hostPort int) {
	t.Helper()
	if err := publishFor(t, n, a, res, hostPort); err != nil {
		t.Fatal(err)
	}
	conf, err := Parse(fmt.Appendf(nil, `{"cniVersion":"1.1.0","name":%q,"type":"firewall","prevResult":%s}`, n.conf.Name, text(t, res)))
	if err == nil {
		_, err = firewallRoom.add(t.Context(), conf, a)
	}
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := rules.End(n.told.Owner(a), nil); err != nil {
			t.Error(err)
		}
	})
}

func publishFor(t *testing.T, n *Network, a Attachment, res *Result, hostPort int) error {
	t.Helper()
	conf := portmapConf(t, n.conf.Name, "", fmt.Sprintf(`{"hostPort":%d,"containerPort":80,"protocol":"tcp"}`, hostPort), text(t, res))
	_, err := portmapRoom.add(t.Context(), conf, a)
	return err
}

func text(t *testing.T, res *Result) string {
	t.Helper()
	b, err := json.Marshal(res)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

// vanish ends a container's namespace, and waits until the kernel has ended its link.
func vanish(t *testing.T, n *Network, a Attachment) {
	t.Helper()
	nstest.Remove(a.NetNS)
	conn, err := rtnl.Dial(nil)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	for deadline := time.Now().Add(time.Minute); ; time.Sleep(time.Millisecond) {
		if _, err := conn.Name(names.Of(n.conf.Name, a.ContainerID, a.IfName, 0).Index); fault.Absent(err) {
			return
		}
		if time.Now().After(deadline) {
			t.Fatal("the link outlives its namespace")
		}
	}
}

// has lists what the ruleset and the leases have of a container.
func (p *pair) has(t *testing.T, a Attachment) string {
	t.Helper()
	var list []string
	store, err := ipam.OpenExisting(t.Context(), p.network.conf.IPAM.DataDir, p.network.conf.Name)
	if err != nil {
		t.Fatal(err)
	}
	if r, ok, _ := store.Lookup(names.Lessee(a)); ok {
		list = append(list, fmt.Sprint("lease ", r.Addrs))
	}
	store.Close()
	return strings.Join(append(list, rulesOf(t, p.network.told.Owner(a))...), ", ")
}

func rulesOf(t *testing.T, o nft.Owner) (list []string) {
	t.Helper()
	conn, err := nft.Dial()
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	for a, err := range conn.Senders("") {
		if err != nil {
			t.Fatal(err)
		}
		if a.Owner == o.Short() {
			list = append(list, fmt.Sprint("masquerade ", a.Masquerade))
		}
	}
	for p, err := range conn.Published("") {
		if err != nil {
			t.Fatal(err)
		}
		if p.Owner == o.Short() {
			list = append(list, fmt.Sprint("port ", p.Mapping.HostPort))
		}
	}
	for f, err := range conn.Allowed("") {
		if err != nil {
			t.Fatal(err)
		}
		if f.Owner == o.Short() {
			list = append(list, fmt.Sprint("opening ", f.Addr))
		}
	}
	return list
}

// mountBootID mounts a file over the boot ID, as LXC does, for as long as the test lasts.
func mountBootID(t *testing.T, id string) (unmount func()) {
	t.Helper()
	file := filepath.Join(t.TempDir(), "boot_id")
	if err := os.WriteFile(file, []byte(id+"\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	const path = "/proc/sys/kernel/random/boot_id"
	if err := unix.Mount(file, path, "", unix.MS_BIND, ""); err != nil {
		t.Fatal(err)
	}
	mounted := true
	unmount = func() {
		if err := unix.Unmount(path, 0); err != nil && mounted {
			t.Error(err)
		}
		mounted = false
	}
	t.Cleanup(unmount)
	return unmount
}

// setTimesBack makes all of a directory look older than the boot.
func setTimesBack(t *testing.T, dir string) {
	t.Helper()
	err := filepath.WalkDir(dir, func(path string, _ os.DirEntry, err error) error {
		if err != nil {
			return err
		}
		old := []unix.Timespec{{Sec: 86400}, {Sec: 86400}}
		return unix.UtimesNanoAt(unix.AT_FDCWD, path, old, unix.AT_SYMLINK_NOFOLLOW)
	})
	if err != nil {
		t.Fatal(err)
	}
}

const otherBoot = "00000000-1111-2222-3333-444444444444"

// Whatever makes a live attachment look unlike its record proves nothing: it keeps address, link, rules and ports, and the
// dead one beside it is told from it all the same.
func TestLooksProveNothing(t *testing.T) {
	nstest.Full(t, "it takes long")
	ip := func(args ...string) func(*testing.T, *pair) {
		return func(t *testing.T, p *pair) {
			all := slices.Clone(args)
			for i := range all {
				all[i] = strings.ReplaceAll(all[i], "LINK", p.link)
			}
			nstest.Run(t, "", "ip", append([]string{"link", "set"}, all...)...)
		}
	}
	move := func(t *testing.T, p *pair) { ip("LINK", "netns", nstest.New(t, "router"))(t, p) }
	looks := []struct {
		name   string
		change []func(*testing.T, *pair)
	}{
		{"as it was", nil},
		{"boot ID", []func(*testing.T, *pair){func(t *testing.T, _ *pair) { mountBootID(t, otherBoot) }}},
		{"MAC", []func(*testing.T, *pair){ip("LINK", "address", "02:00:00:00:00:77")}},
		{"name", []func(*testing.T, *pair){ip("LINK", "down"), ip("LINK", "name", "renamed")}},
		{"alias", []func(*testing.T, *pair){ip("LINK", "alias", "nobody/knows/this")}},
		{"master", []func(*testing.T, *pair){ip("LINK", "nomaster")}},
		{"down", []func(*testing.T, *pair){ip("LINK", "down")}},
		{"namespace", []func(*testing.T, *pair){move}},
		{"times", []func(*testing.T, *pair){func(t *testing.T, p *pair) { setTimesBack(t, p.network.conf.IPAM.DataDir) }}},
		{"all of it", []func(*testing.T, *pair){ip("LINK", "down"), ip("LINK", "address", "02:00:00:00:00:77"), ip("LINK", "alias", "nobody/knows/this"), ip("LINK", "nomaster"),
			func(t *testing.T, p *pair) { setTimesBack(t, p.network.conf.IPAM.DataDir) }, ip("LINK", "name", "renamed"),
			func(t *testing.T, p *pair) { p.link = "renamed" }, move, func(t *testing.T, _ *pair) { mountBootID(t, otherBoot) }}},
	}
	for _, look := range looks {
		for what, do := range deeds() {
			t.Run(look.name+"/"+what, func(t *testing.T) {
				p := newPair(t, "live", "dead")
				before := p.has(t, p.live)
				for _, change := range look.change {
					change(t, p)
				}
				do(t, p)
				if after := p.has(t, p.live); after != before || !strings.Contains(after, "port 8080, opening") {
					t.Errorf("the live container had %s\nand has %s", before, after)
				}
				if l := p.has(t, p.dead); l != "" {
					t.Errorf("the dead one still has %s", l)
				}
				if err := Detach(t.Context(), p.network, p.live); err != nil {
					t.Error(err)
				}
				if out := nstest.Run(t, p.live.NetNS, "ip", "-o", "link", "show", "type", "veth"); out != "" {
					t.Errorf("DEL left %s", out)
				}
			})
		}
	}
}

// deeds are the calls that reclaim what is dead.
func deeds() map[string]func(*testing.T, *pair) {
	return map[string]func(*testing.T, *pair){
		"ADD to a full range": func(t *testing.T, p *pair) {
			next := attachment(t, "next")
			res, err := Attach(t.Context(), p.network, next)
			if err != nil {
				t.Fatal(err)
			}
			if res.IPs[0].Address == p.addr {
				t.Error("the live container's address was given away")
			}
			var full *ipam.ExhaustedError
			if _, err := Attach(t.Context(), p.network, attachment(t, "more")); !errors.As(err, &full) {
				t.Errorf("another ADD: %v", err)
			}
		},
		"GC": func(t *testing.T, p *pair) {
			if err := Reclaim(t.Context(), p.network); err != nil {
				t.Error(err)
			}
		},
		"swiftctl gc": func(t *testing.T, p *pair) {
			list, err := veth.ReclaimLeases(t.Context(), p.network.conf.IPAM.DataDir, p.network.conf.Name)
			if err != nil || len(list) != 1 || list[0].Owner != names.Lessee(p.dead) {
				t.Errorf("got %v, %v", list, err)
			}
		},
		"ADD of the dead one again": func(t *testing.T, p *pair) {
			a := p.dead
			a.NetNS = nstest.New(t, "again")
			if _, err := Attach(t.Context(), p.network, a); err != nil {
				t.Error(err)
			}
			if err := Detach(t.Context(), p.network, a); err != nil {
				t.Error(err)
			}
			if err := rules.End(p.network.told.Owner(a), nil); err != nil {
				t.Error(err)
			}
			var refused *Error
			if _, err := Attach(t.Context(), p.network, p.live); !errors.As(err, &refused) {
				t.Errorf("the live one again: %v", err)
			}
		},
	}
}

// From another namespace nothing is proven, whatever the boot ID looks like: neither of the live nor of the dead.
func TestOtherNamespacesProveNothing(t *testing.T) {
	for _, mounted := range []bool{false, true} {
		t.Run(fmt.Sprint("boot ID mounted over: ", mounted), func(t *testing.T) {
			p := newPair(t, "live", "dead")
			live, dead := p.has(t, p.live), p.has(t, p.dead)
			if mounted {
				mountBootID(t, otherBoot)
			}
			next := attachment(t, "next")
			nstest.In(t, nstest.New(t, "elsewhere"), func() {
				var full *ipam.ExhaustedError
				if _, err := Attach(t.Context(), p.network, next); !errors.As(err, &full) {
					t.Errorf("ADD: %v", err)
				}
				if list, err := veth.ReclaimLeases(t.Context(), p.network.conf.IPAM.DataDir, p.network.conf.Name); err != nil || len(list) > 0 {
					t.Errorf("ended %v, %v", list, err)
				}
				if err := Reclaim(t.Context(), p.network); err != nil {
					t.Error(err)
				}
			})
			if l, d := p.has(t, p.live), p.has(t, p.dead); l != live || d != dead {
				t.Errorf("live: %s\ndead: %s", l, d)
			}
		})
	}
}

// A record of another boot is dead if its boot has ended or its link is nowhere, and lives where neither is known.
func TestBootsThatEnded(t *testing.T) {
	host, err := hostid.Read(nil)
	if err != nil {
		t.Fatal(err)
	}
	if !host.BootIsReal() {
		t.Fatal("the kernel's own boot ID isn't taken for that")
	}
	for _, c := range []struct {
		name          string
		here, known   bool // made in this namespace; by an ID that was the kernel's
		mounted, dead bool // this boot's isn't
	}{
		{name: "a reboot", here: true, known: true, dead: true},
		{name: "a reboot, of which an older version wrote", here: true, dead: true},
		{name: "a reboot seen below LXC", here: true, known: true, mounted: true, dead: true},
		{name: "a reboot into another kernel", known: true, dead: true},
		{name: "a namespace that another boot ID was seen in"},
		{name: "another namespace, seen below LXC", known: true, mounted: true},
	} {
		t.Run(c.name, func(t *testing.T) {
			n := network(t, twoAddresses)
			owner := ipam.Owner{ContainerID: "old", IfName: "eth0"}
			record := proof.Record(names.Of(n.conf.Name, "old", "eth0", 0), owner, host)
			record.Boot = "99999999-1111-2222-3333-444444444444"
			if !c.here {
				record.NetNS--
			}
			store, err := ipam.Open(t.Context(), n.conf.IPAM.DataDir, n.conf.Name)
			if err != nil {
				t.Fatal(err)
			}
			_, err = store.Reserve(ipam.Request{Owner: owner, Sets: n.conf.IPAM.Sets, Record: record, TrueBoot: func() bool { return c.known }})
			if err = errors.Join(err, store.Close()); err != nil {
				t.Fatal(err)
			}
			if c.mounted {
				mountBootID(t, otherBoot)
			}
			a := attachment(t, "new")
			if _, err := Attach(t.Context(), n, a); err != nil { // the first of its boot
				t.Fatal(err)
			}
			store, err = ipam.OpenReadOnly(t.Context(), n.conf.IPAM.DataDir, n.conf.Name)
			if err != nil {
				t.Fatal(err)
			}
			if _, lives, err := store.Lookup(owner); err != nil || lives == c.dead {
				t.Errorf("it holds its lease: %v, %v", lives, err)
			}
			store.Close()
			boots, err := filepath.Glob(filepath.Join(n.conf.IPAM.DataDir, ".swiftcni", n.conf.Name, "@boot.9999*"))
			if err != nil || (len(boots) == 0) != c.dead {
				t.Errorf("what's known of its boot: %v, %v", boots, err)
			}
			if err := Detach(t.Context(), n, a); err != nil {
				t.Error(err)
			}
		})
	}
}
