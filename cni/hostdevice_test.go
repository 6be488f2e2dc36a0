// SPDX-License-Identifier: Apache-2.0

package cni

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/swiftcni/swiftcni/internal/fault"
	"github.com/swiftcni/swiftcni/internal/hostdevice"
	"github.com/swiftcni/swiftcni/internal/names"
	"github.com/swiftcni/swiftcni/internal/test/nstest"
)

var hostDeviceRoom = reader(hostdevice.Read)

const staticFour = `"ipam": {"type": "static", "addresses": [{"address": "10.9.0.2/24", "gateway": "10.9.0.1"}], "routes": [{"dst": "0.0.0.0/0"}]}`

// lending is the host of a container that borrows a link.
type lending struct {
	t       testing.TB
	network *Network
	a       Attachment
}

// lend makes a link card0 of the host's, an end of a veth, with a container and a network whose keys
// are given.
func lend(t testing.TB, keys string) *lending {
	t.Helper()
	nstest.Run(t, "", "ip", "link", "add", "card0", "type", "veth", "peer", "name", "far0")
	t.Cleanup(func() { removeLink(t, "far0") }) // and with it the other end, wherever that is
	nstest.Run(t, "", "ip", "link", "set", "far0", "up")
	w := &lending{t: t, a: attachment(t, "c1")}
	w.network = w.of(keys)
	return w
}

func (w *lending) of(keys string) *Network {
	w.t.Helper()
	text := fmt.Sprintf(`{"cniVersion": "1.1.0", "name": "lent", "type": "host-device", %s}`, strings.ReplaceAll(keys, "DIR", w.t.TempDir()))
	n, err := parse([]byte(text))
	if err != nil {
		w.t.Fatal(err)
	}
	return n
}

func (w *lending) add() *Result {
	w.t.Helper()
	res, err := hostDeviceRoom.add(w.t.Context(), w.network, w.a)
	if err != nil {
		w.t.Fatal(err)
	}
	w.t.Cleanup(func() { _ = hostDeviceRoom.del(context.Background(), w.network, w.a) })
	return res
}

func (w *lending) del() {
	w.t.Helper()
	if err := hostDeviceRoom.del(w.t.Context(), w.network, w.a); err != nil {
		w.t.Fatal(err)
	}
}

// delBy detaches by the way to the namespace that has the link: the link comes back, and its lease ends.
func (w *lending) delBy(way string) {
	w.t.Helper()
	w.a.NetNS = way
	w.del()
	if got := w.leases(); got != nil {
		w.t.Error(got)
	}
	w.untouched("DEL")
}

// leases are the files of the network's leases.
func (w *lending) leases() []string {
	w.t.Helper()
	list, err := filepath.Glob(filepath.Join(w.network.conf.IPAM.DataDir, "lent", "10.9.*"))
	if err != nil {
		w.t.Fatal(err)
	}
	return list
}

// A shownLink is what "ip -json -d addr" says of a link.
type shownLink struct {
	Name     string   `json:"ifname"`
	Flags    []string `json:"flags"`
	Alias    string   `json:"ifalias"`
	AltNames []string `json:"altnames"`
	MAC      string   `json:"address"`
	Addrs    []struct {
		Local string `json:"local"`
		Bits  int    `json:"prefixlen"`
		Scope string `json:"scope"`
	} `json:"addr_info"`
}

func (l shownLink) up() bool { return strings.Contains(strings.Join(l.Flags, " ")+" ", "UP ") }

// shown returns a link of a namespace, and nil if it isn't there.
func shown(t testing.TB, ns, name string) *shownLink {
	t.Helper()
	var list []shownLink
	if err := json.Unmarshal([]byte(nstest.Run(t, ns, "ip", "-json", "-d", "addr")), &list); err != nil {
		t.Fatal(err)
	}
	for _, l := range list {
		if l.Name == name {
			return &l
		}
	}
	return nil
}

// untouched fails the test if card0 isn't on the host as lend has made it.
func (w *lending) untouched(when string) *shownLink {
	w.t.Helper()
	l := shown(w.t, "", "card0")
	if l == nil {
		w.t.Fatalf("%s: the host has no card0:\n%s", when, nstest.Run(w.t, "", "ip", "link"))
	}
	if l.Alias != "" || l.AltNames != nil {
		w.t.Errorf("%s: %+v", when, l)
	}
	return l
}

// The link is in the container with the name and the addresses that it's to have, and it's the
// host's again afterwards. Each verb can come twice.
func TestHostDevice(t *testing.T) {
	w := lend(t, `"device": "card0", `+staticFour)
	mac := shown(t, "", "card0").MAC
	res := w.add()
	if shown(t, "", "card0") != nil {
		t.Error("the host still has it")
	}
	l := shown(t, w.a.NetNS, "eth0")
	if l == nil || !l.up() || l.Alias != "card0" || l.MAC != mac || len(l.Addrs) == 0 || l.Addrs[0].Local != "10.9.0.2" {
		t.Errorf("%+v", l)
	}
	if i := res.Interfaces; len(i) != 1 || i[0].Name != "eth0" || i[0].MAC != mac || i[0].Sandbox != w.a.NetNS || len(res.IPs) != 1 || res.IPs[0].Interface != 0 {
		t.Errorf("%+v", res)
	}
	if err := hostDeviceRoom.check(t.Context(), w.network, w.a, res); err != nil {
		t.Error(err)
	}
	if _, err := hostDeviceRoom.add(t.Context(), w.network, w.a); err == nil || !strings.Contains(err.Error(), "failed to find host device: Link not found") {
		t.Errorf("a second ADD: %v", err)
	}
	if now := shown(t, w.a.NetNS, "eth0"); now == nil || !now.up() || len(now.Addrs) == 0 || now.Addrs[0] != l.Addrs[0] { // a link-local address may come late
		t.Errorf("a second ADD has touched the link: %+v", now)
	}
	w.del()
	if l := w.untouched("DEL"); l.up() {
		t.Error("it's up, which nobody has asked for")
	}
	if err := hostDeviceRoom.check(t.Context(), w.network, w.a, res); err == nil {
		t.Error("CHECK finds it")
	}
	w.del()
	w.untouched("a second DEL")
}

// Without IPAM the link comes up, and the result has no address.
func TestHostDeviceWithoutAddresses(t *testing.T) {
	w := lend(t, `"device": "card0", "dns": {"nameservers": ["10.9.0.1"]}`)
	res := w.add()
	if l := shown(t, w.a.NetNS, "eth0"); l == nil || !l.up() || len(res.IPs) > 0 || len(res.DNS.Nameservers) > 0 {
		t.Errorf("%+v, %+v", l, res)
	}
	w.del()
	w.untouched("DEL")
}

// The device is found by its address as well, and by an alternative name.
func TestHostDeviceIsFound(t *testing.T) {
	for _, keys := range []string{`"hwaddr": "02:00:00:00:00:C1"`, `"device": "uplink"`, `"device": "enp129s0f1np1v12"`} {
		w := lend(t, keys)
		nstest.Run(t, "", "ip", "link", "set", "card0", "address", "02:00:00:00:00:c1")
		nstest.Run(t, "", "ip", "link", "property", "add", "dev", "card0", "altname", "uplink", "altname", "enp129s0f1np1v12")
		w.add()
		if l := shown(t, w.a.NetNS, "eth0"); l == nil || l.Alias != "card0" {
			t.Errorf("%s: %+v", keys, l)
		}
		w.del()
		if l := shown(t, "", "card0"); l == nil || l.Alias != "" || len(l.AltNames) != 2 {
			t.Errorf("%s: %+v", keys, l)
		}
		removeLink(t, "far0")
	}
}

// A failure leaves the link on the host, up if it was, with its alias.
func TestHostDeviceFails(t *testing.T) {
	for name, tt := range map[string]struct{ keys, before, want string }{
		"name taken":   {staticFour, "ip link add eth0 type veth peer name x", `failed to move "eth0" (host: "card0") to container NS: file exists`},
		"no addresses": {`"ipam": {"type": "static"}`, "", "IPAM plugin returned missing IP config"},
		"no program":   {`"ipam": {"type": "nowhere"}`, "", "no paths provided"},
		"route by a stranger": {`"ipam": {"type": "static", "addresses": [{"address": "10.9.0.2/24"}], "routes": [{"dst": "10.8.0.0/16", "gw": "10.7.0.1"}]}`, "",
			"failed to set up the container's link"},
	} {
		t.Run(name, func(t *testing.T) {
			w := lend(t, `"device": "card0", `+tt.keys)
			nstest.Run(t, "", "ip", "link", "set", "card0", "up", "alias", "the third port")
			if tt.before != "" {
				nstest.Run(t, w.a.NetNS, "sh", "-c", tt.before)
			}
			_, err := hostDeviceRoom.add(t.Context(), w.network, w.a)
			if err == nil || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("got %v, want %s", err, tt.want)
			}
			if l := shown(t, "", "card0"); l == nil || !l.up() || l.Alias != "the third port" || l.AltNames != nil {
				t.Errorf("%+v", l)
			}
		})
	}
}

// An error has the link's name for its index, and leaves alone what else has the same digits.
func TestHostDeviceErrorText(t *testing.T) {
	w := lend(t, `"device": "card0"`)
	index, _, _ := strings.Cut(nstest.Run(t, "", "ip", "-o", "link", "show", "card0"), ":")
	w.network = w.of(`"device": "card0", "ipam": {"type": "static", "addresses": [{"address": "10.9.0.2/24"}], "routes": [{"dst": "10.` + index + `.0.0/16", "gw": "10.254.0.` + index + `"}]}`)
	_, err := hostDeviceRoom.add(t.Context(), w.network, w.a)
	if want := "prepend route 10." + index + ".0.0/16 via 10.254.0." + index + " dev eth0: network is unreachable"; err == nil || !strings.Contains(err.Error(), want) {
		t.Errorf("got %v, want %s", err, want)
	}
}

// The name on the host may be taken in the container, and the name in the container on the host.
func TestHostDeviceNamesMeet(t *testing.T) {
	w := lend(t, `"device": "card0"`)
	nstest.Run(t, w.a.NetNS, "ip", "link", "add", "card0", "type", "bridge")
	nstest.Run(t, "", "ip", "link", "add", "eth0", "type", "bridge")
	defer removeLink(t, "eth0")
	w.add()
	if l := shown(t, w.a.NetNS, "eth0"); l == nil || l.Alias != "card0" {
		t.Errorf("%+v", l)
	}
	w.del()
	w.untouched("DEL")
	if shown(t, w.a.NetNS, "card0") == nil || shown(t, "", "eth0") == nil {
		t.Error("another's link is gone")
	}
}

// Where the host has another link of the name meanwhile, DEL says so and loses nothing: the container
// keeps the link as it was, and the host gets it, with its name, once that's free.
func TestHostDeviceNameIsTakenMeanwhile(t *testing.T) {
	for _, both := range []bool{false, true} {
		w := lend(t, `"device": "card0"`)
		w.add()
		nstest.Run(t, "", "ip", "link", "add", "card0", "type", "bridge")
		if both {
			nstest.Run(t, "", "ip", "link", "add", "eth0", "type", "bridge")
		}
		err := hostDeviceRoom.del(t.Context(), w.network, w.a)
		if err == nil || !strings.Contains(err.Error(), `"card0": the host has another link of that name`) {
			t.Error(err)
		}
		if l := shown(t, w.a.NetNS, "eth0"); l == nil || !l.up() {
			t.Errorf("after the DEL that failed: %+v", l)
		}
		removeLink(t, "card0")
		w.del()
		w.untouched("DEL")
		if both {
			removeLink(t, "eth0")
		}
		removeLink(t, "far0")
	}
}

// comesBack does what the kernel does with a physical link when its namespace ends: its name is
// another one, and the rest stays. A veth would end.
func (w *lending) comesBack(as string) {
	w.t.Helper()
	nstest.Run(w.t, w.a.NetNS, "ip", "link", "set", "eth0", "netns", fmt.Sprint(os.Getpid()), "name", as)
}

// A link that came back by itself gets its name by DEL, with or without the namespace, by GC, by
// Reclaim, and by the next ADD that asks for it.
func TestHostDeviceComesBack(t *testing.T) {
	for _, as := range []string{"eth0", "dev7"} {
		for how, restore := range map[string]func(w *lending) error{
			"DEL": func(w *lending) error { return hostDeviceRoom.del(t.Context(), w.network, w.a) },
			"DEL without a namespace": func(w *lending) error {
				a := w.a
				a.NetNS = ""
				return hostDeviceRoom.del(t.Context(), w.network, a)
			},
			"GC":      func(w *lending) error { return hostDeviceRoom.gc(t.Context(), w.network, []Attachment{}) },
			"Reclaim": func(w *lending) error { return hostDeviceRoom.reclaim(t.Context(), w.network) },
			"ADD": func(w *lending) error {
				other := attachment(t, "c2")
				if _, err := hostDeviceRoom.add(t.Context(), w.network, other); err != nil {
					return err
				}
				if l := shown(t, other.NetNS, "eth0"); l == nil || l.Alias != "card0" {
					t.Errorf("%+v", l)
				}
				// A late DEL of the first isn't about the second's.
				if err := hostDeviceRoom.del(t.Context(), w.network, w.a); err != nil || shown(t, other.NetNS, "eth0") == nil {
					t.Errorf("a late DEL: %v", err)
				}
				return hostDeviceRoom.del(t.Context(), w.network, other)
			},
		} {
			t.Run(how+" as "+as, func(t *testing.T) {
				w := lend(t, `"device": "card0", `+staticFour)
				w.add()
				w.comesBack(as)
				if err := restore(w); err != nil {
					t.Fatal(err)
				}
				w.untouched(how)
			})
		}
	}
}

// GC leaves alone what a valid attachment has, what is another network's, and what isn't moved.
func TestHostDeviceGCIsCareful(t *testing.T) {
	w := lend(t, `"device": "card0"`)
	nstest.Run(t, "", "ip", "link", "set", "far0", "alias", "card1")
	w.add()
	w.comesBack("dev7")
	if err := hostDeviceRoom.gc(t.Context(), w.network, []Attachment{w.a}); err != nil || shown(t, "", "dev7") == nil {
		t.Errorf("a valid one's: %v", err)
	}
	other, err := parse([]byte(`{"cniVersion": "1.1.0", "name": "other", "type": "host-device", "device": "card0"}`))
	if err != nil {
		t.Fatal(err)
	}
	if err := hostDeviceRoom.gc(t.Context(), other, []Attachment{}); err != nil || shown(t, "", "dev7") == nil {
		t.Errorf("another network's: %v", err)
	}
	w.del()
	w.untouched("DEL")
	if l := shown(t, "", "far0"); l == nil || l.Alias != "card1" {
		t.Errorf("%+v", l)
	}
}

// A container that isn't valid by GC's list keeps its link until DEL, and the address as long.
func TestHostDeviceGCKeepsAddressesInUse(t *testing.T) {
	w := lend(t, `"device": "card0", "ipam": {"type": "host-local", "dataDir": "DIR", "ranges": [[{"subnet": "10.9.0.0/24"}]]}`)
	w.add()
	for _, want := range []int{1, 0} {
		if err := hostDeviceRoom.gc(t.Context(), w.network, []Attachment{}); err != nil {
			t.Fatal(err)
		}
		if got := w.leases(); len(got) != want {
			t.Errorf("%d leases, expected %d: %s", len(got), want, got)
		}
		removeLink(t, "far0") // and with it the container's
	}
}

// A container that may change its links can't choose the name on the host.
func TestHostDeviceAliasIsTheContainers(t *testing.T) {
	for _, alias := range []string{"docker0", "", "a/b", "%d", "a b"} {
		w := lend(t, `"device": "card0"`)
		w.add()
		nstest.Run(t, w.a.NetNS, "ip", "link", "set", "eth0", "alias", alias)
		nstest.Run(t, w.a.NetNS, "ip", "link", "set", "eth0", "down")
		nstest.Run(t, w.a.NetNS, "ip", "link", "set", "eth0", "name", "renamed")
		w.del()
		w.untouched(alias)
		removeLink(t, "far0")
	}
}

// What the container has there by another plugin stays its own.
func TestHostDeviceLeavesStrangers(t *testing.T) {
	w := lend(t, `"device": "card0"`)
	nstest.Run(t, w.a.NetNS, "ip", "link", "add", "eth0", "type", "veth", "peer", "name", "x")
	w.del()
	nstest.Run(t, w.a.NetNS, "ip", "link", "set", "eth0", "alias", "net/c1/eth0")
	w.del()
	if shown(t, w.a.NetNS, "eth0") == nil {
		t.Error("DEL has moved it")
	}
}

// What another network was lent is its own, also under the same name in the same container.
func TestHostDeviceOfAnotherNetwork(t *testing.T) {
	w := lend(t, `"device": "card0"`)
	w.add()
	another, err := parse([]byte(`{"cniVersion": "1.1.0", "name": "other", "type": "host-device", "device": "card0"}`))
	if err != nil {
		t.Fatal(err)
	}
	if err := hostDeviceRoom.del(t.Context(), another, w.a); err != nil {
		t.Error(err)
	}
	if l := shown(t, w.a.NetNS, "eth0"); l == nil || !l.up() {
		t.Errorf("after the other network's DEL: %+v", l)
	}
	w.del()
	w.untouched("DEL")
}

// Of two containers that want one device one gets it, and the other gets a clear error.
func TestHostDeviceIsWantedTwice(t *testing.T) {
	w := lend(t, `"device": "card0"`)
	list := []Attachment{w.a, attachment(t, "c2"), attachment(t, "c3"), attachment(t, "c4")}
	errs := make([]error, len(list))
	var all sync.WaitGroup
	for i, a := range list {
		all.Go(func() { _, errs[i] = hostDeviceRoom.add(t.Context(), w.network, a) })
	}
	all.Wait()
	got := 0
	for i, a := range list {
		l := shown(t, a.NetNS, "eth0")
		switch {
		case errs[i] == nil && l != nil && l.up() && l.Alias == "card0":
			got++
		case errs[i] == nil || l != nil || !strings.Contains(errs[i].Error(), "failed to find host device: Link not found"):
			t.Errorf("%+v, %v", l, errs[i])
		}
	}
	if got != 1 {
		t.Errorf("%d have it", got)
	}
	for _, a := range list {
		if err := hostDeviceRoom.del(t.Context(), w.network, a); err != nil {
			t.Error(err)
		}
	}
	w.untouched("DEL")
}

// A container whose namespace is gone has nothing of a virtual link, and its lease ends.
func TestHostDeviceWithoutNamespace(t *testing.T) {
	w := lend(t, `"device": "card0", "ipam": {"type": "host-local", "dataDir": "DIR", "ranges": [[{"subnet": "10.9.0.0/24"}]]}`)
	w.add()
	if len(w.leases()) != 1 {
		t.Fatal("no lease")
	}
	w.end()
	w.del()
	if got := w.leases(); got != nil {
		t.Error(got)
	}
}

// end ends the container's namespace, and the link with it.
func (w *lending) end() {
	w.t.Helper()
	nstest.Remove(w.a.NetNS)
	for deadline := time.Now().Add(time.Minute); shown(w.t, "", "far0") != nil; time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			w.t.Fatal("the namespace doesn't end")
		}
	}
}

// Without the way to a container that lives its link stays there, and keeps its address: whoever
// finds the way gives both back, and the namespace's end does so, too.
func TestHostDeviceKeepsAddressWithoutWay(t *testing.T) {
	for _, path := range []string{"", "/run/netns/none"} {
		t.Run(path, func(t *testing.T) {
			w := lend(t, `"device": "card0", "ipam": {"type": "host-local", "dataDir": "DIR", "ranges": [[{"subnet": "10.9.0.0/24"}]]}`)
			way := w.a.NetNS
			for _, comes := range []bool{true, false} {
				w.add()
				w.a.NetNS = path
				for range 2 {
					w.del()
					if len(w.leases()) != 1 || shown(t, way, "eth0") == nil {
						t.Fatalf("the leases are %q, the container has %v", w.leases(), shown(t, way, "eth0"))
					}
				}
				if w.a.NetNS = way; !comes {
					w.end()
					w.a.NetNS = path
				}
				w.del()
				if got := w.leases(); got != nil {
					t.Error(got)
				}
			}
		})
	}
}

// Nor does the address end if the way leads to a namespace that doesn't have the link: another one
// has been bound to the path, or the container has moved the link on.
func TestHostDeviceKeepsAddressOnWrongWay(t *testing.T) {
	for _, moves := range []bool{false, true} {
		t.Run(fmt.Sprint("moved on: ", moves), func(t *testing.T) {
			w := lend(t, `"device": "card0", "ipam": {"type": "host-local", "dataDir": "DIR", "ranges": [[{"subnet": "10.9.0.0/24"}]]}`)
			w.add()
			way, wrong := w.a.NetNS, attachment(t, "c2").NetNS
			if moves {
				nstest.Run(t, way, "ip", "link", "set", "eth0", "netns", wrong)
				way, wrong = wrong, way
			}
			w.a.NetNS = wrong
			for range 2 {
				w.del()
				if len(w.leases()) != 1 || shown(t, way, "eth0") == nil {
					t.Fatalf("the leases are %q, the container has %v", w.leases(), shown(t, way, "eth0"))
				}
			}
			w.delBy(way)
		})
	}
}

// A link that came back under its own name is nobody's any more: neither DEL nor GC keeps an address
// for it, also once another container has it.
func TestHostDeviceComesBackByItsName(t *testing.T) {
	for _, again := range []bool{false, true} {
		for _, way := range []string{"DEL", "GC"} {
			t.Run(fmt.Sprint(way, ", lent again: ", again), func(t *testing.T) {
				w := lend(t, `"device": "card0", "ipam": {"type": "host-local", "dataDir": "DIR", "ranges": [[{"subnet": "10.9.0.0/24"}]]}`)
				w.a.IfName = "card0"
				w.add()
				nstest.Run(t, w.a.NetNS, "ip", "link", "set", "card0", "netns", fmt.Sprint(os.Getpid()))
				w.a.NetNS = ""
				second, left := attachment(t, "c2"), 0
				if again {
					left = 1
					if _, err := hostDeviceRoom.add(t.Context(), w.network, second); err != nil {
						t.Fatal(err)
					}
					if l := shown(t, second.NetNS, "eth0"); l == nil || len(l.AltNames) != 1 {
						t.Errorf("the second has %+v", l)
					}
				}
				if way == "DEL" {
					w.del()
				} else if err := hostDeviceRoom.gc(t.Context(), w.network, []Attachment{second}); err != nil {
					t.Fatal(err)
				}
				if got := w.leases(); len(got) != left {
					t.Errorf("%d leases are left, expected %d: %s", len(got), left, got)
				}
				if err := hostDeviceRoom.del(t.Context(), w.network, second); err != nil {
					t.Error(err)
				}
				w.del()
				w.untouched(way)
			})
		}
	}
}

// A link without its mark, as before Linux 5.5 or where the container has taken that away, may be
// the attachment's. It keeps the address until a DEL that finds it.
func TestHostDeviceWithoutMark(t *testing.T) {
	for _, key := range []string{`"device": "card0"`, `"hwaddr": "02:00:00:00:00:77"`} {
		t.Run(key, func(t *testing.T) {
			w := lend(t, key+`, "ipam": {"type": "host-local", "dataDir": "DIR", "ranges": [[{"subnet": "10.9.0.0/24"}]]}`)
			nstest.Run(t, "", "ip", "link", "set", "card0", "address", "02:00:00:00:00:77")
			w.add()
			way := w.a.NetNS
			// Older kernels find the mark on the host alone.
			nstest.Run(t, way, "ip", "link", "set", "eth0", "netns", fmt.Sprint(os.Getpid()), "name", "back")
			nstest.Run(t, "", "ip", "link", "property", "del", "dev", "back", "altname", names.Moved("lent", "c1", "eth0"))
			nstest.Run(t, "", "ip", "link", "set", "back", "netns", way, "name", "eth0")
			w.a.NetNS = ""
			w.del()
			if err := hostDeviceRoom.gc(t.Context(), w.network, []Attachment{}); err != nil {
				t.Fatal(err)
			}
			if len(w.leases()) != 1 || shown(t, way, "eth0") == nil {
				t.Fatalf("the leases are %q, the container has %v", w.leases(), shown(t, way, "eth0"))
			}
			// Another link without a mark is no reason to keep it, once the device is back.
			w.delBy(way)
		})
	}
}

// A device that came back, and isn't the configuration's any more, keeps nobody from lending another.
func TestHostDeviceIsAnother(t *testing.T) {
	w := lend(t, `"device": "card0"`)
	w.add()
	w.comesBack("dev7")
	nstest.Run(t, "", "ip", "link", "add", "card1", "type", "veth", "peer", "name", "far1")
	t.Cleanup(func() { removeLink(t, "far1") })
	w.network = w.of(`"device": "card1"`)
	for range 2 {
		w.add()
		if l := shown(t, w.a.NetNS, "eth0"); l == nil || l.Alias != "card1" {
			t.Errorf("%+v", l)
		}
		w.del()
		w.untouched("the first") // by its own name
		if shown(t, "", "card1") == nil {
			t.Error("the second isn't back")
		}
	}
}

// "useInterfaceNetwork" takes addresses, routes and rules along, and a failure gives them back.
func TestHostDeviceTakesItsNetwork(t *testing.T) {
	w := lend(t, `"device": "card0", "useInterfaceNetwork": true`)
	nstest.Run(t, "", "sh", "-ec", `ip address add 10.9.0.2/24 dev card0; ip address add fd00:9::2/64 dev card0 nodad
		ip link set card0 up; ip route add default via 10.9.0.1 dev card0 metric 50; ip route add 10.8.0.0/16 dev card0 scope link
		ip route add default via 10.9.0.1 dev card0 table 77; ip rule add from 10.9.0.2 table 77; ip rule add from 10.9.0.2 table 78
		ip -6 route add default via fd00:9::1 dev card0`)
	defer nstest.Run(t, "", "sh", "-c", "ip rule del from 10.9.0.2 table 77; ip rule del from 10.9.0.2 table 78")
	res := w.add()
	text, err := json.Marshal(res)
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{`{"address":"10.9.0.2/24","interface":0}`, `fd00:9::2/64`, `{"dst":"0.0.0.0/0","gw":"10.9.0.1","priority":50,"table":254}`,
		`{"dst":"10.8.0.0/16","scope":253,"table":254}`, `{"dst":"0.0.0.0/0","gw":"10.9.0.1","table":77}`, `{"dst":"::/0","gw":"fd00:9::1","priority":1024,"table":254}`} {
		if plain := strings.Join(strings.Fields(string(text)), ""); !strings.Contains(plain, want) {
			t.Errorf("no %s in %s", want, plain)
		}
	}
	inside := nstest.Run(t, w.a.NetNS, "sh", "-c", "ip rule; ip route show table all; ip -6 route; ip address")
	for _, want := range []string{"from 10.9.0.2 lookup 77", "default via 10.9.0.1 dev eth0 table 77", "default via 10.9.0.1 dev eth0 metric 50", "default via fd00:9::1 dev eth0"} {
		if !strings.Contains(inside, want) {
			t.Errorf("no %q in\n%s", want, inside)
		}
	}
	if strings.Contains(inside, "lookup 78") {
		t.Error("a rule to another's table was copied")
	}
	if err := hostDeviceRoom.check(t.Context(), w.network, w.a, res); err != nil {
		t.Error(err)
	}
	w.del()
	w.untouched("DEL")

	w.network = w.of(`"device": "card0", "useInterfaceNetwork": true, "ipam": {"type": "static", "addresses": [{"address": "10.7.0.2/24"}],
		"routes": [{"dst": "10.8.0.0/16", "gw": "10.6.0.1"}]}`)
	nstest.Run(t, "", "sh", "-ec", "ip address add 10.9.0.2/24 dev card0; ip link set card0 up; ip route add default via 10.9.0.1 dev card0")
	if _, err := hostDeviceRoom.add(t.Context(), w.network, w.a); err == nil {
		t.Fatal("it succeeds")
	}
	if l := w.untouched("a failure"); !l.up() || len(l.Addrs) == 0 || l.Addrs[0].Local != "10.9.0.2" {
		t.Errorf("%+v", l)
	}
	if routes := nstest.Run(t, "", "ip", "route"); !strings.Contains(routes, "default via 10.9.0.1 dev card0") {
		t.Error(routes)
	}
	removeLink(t, "far0")
}

// A link that the reference has lent is ours to give back, and the other way round.
func TestHostDeviceMarksAreTheReferences(t *testing.T) {
	w := lend(t, `"device": "card0"`)
	nstest.Run(t, "", "ip", "link", "set", "card0", "netns", w.a.NetNS, "name", "eth0", "alias", "card0", "up")
	w.del()
	w.untouched("DEL")
	w.add()
	if l := shown(t, w.a.NetNS, "eth0"); l == nil || l.Alias != "card0" || len(l.AltNames) != 1 || l.AltNames[0] != names.Moved("lent", "c1", "eth0") {
		t.Errorf("%+v", l)
	}
	w.del()
}

// CHECK tells what isn't as it should be.
func TestHostDeviceCheck(t *testing.T) {
	w := lend(t, `"device": "card0", `+staticFour)
	res := w.add()
	for change, want := range map[string]string{
		"ip address del 10.9.0.2/24 dev eth0":             "Failed to match addr 10.9.0.2/24 on interface eth0",
		"ip route del default":                            "Expected Route 0.0.0.0/0 not found",
		"ip link set eth0 address 02:00:00:00:00:99":      "Interface eth0 Mac " + res.Interfaces[0].MAC + " doesn't match container Mac: 02:00:00:00:00:99",
		"ip link set eth0 down; ip link set eth0 name x9": "Container Interface name in prevResult: eth0 not found",
	} {
		w.del()
		w.add()
		nstest.Run(t, w.a.NetNS, "sh", "-ec", change)
		if err := hostDeviceRoom.check(t.Context(), w.network, w.a, res); err == nil || !strings.HasPrefix(err.Error(), want) {
			t.Errorf("%s: got %v, want %s", change, err, want)
		}
		nstest.Run(t, w.a.NetNS, "sh", "-c", "for l in eth0 x9; do ip link set $l address "+res.Interfaces[0].MAC+" 2>/dev/null; done; true")
	}
}

// A device that DPDK has isn't moved, and nobody is asked for a link.
func TestHostDeviceKeys(t *testing.T) {
	for keys, want := range map[string]string{
		`"pciBusID": "../../../etc"`:                    "pciBusID",
		`"pciBusID": "0000:00:1f.8"`:                    "pciBusID",
		`"hwaddr": "zz"`:                                "hwaddr",
		`"kernelpath": "/sys/devices/../../etc"`:        "kernelpath",
		`"kernelpath": "/etc"`:                          "kernelpath",
		`"runtimeConfig": {"deviceID": "../x"}`:         "runtimeConfig.deviceID",
		`"mtu": 1`:                                      "device",
		`"device": 7`:                                   "device",
		`"device": "a\u0000b"`:                          "device",
		`"device": "card0", "useInterfaceNetwork": "x"`: "useInterfaceNetwork",
		`"device": "card0", "ipam": {"type": "host-local", "ranges": [[{}]]}`: "ipam",
	} {
		n, err := Parse([]byte(`{"cniVersion": "1.1.0", "name": "lent", "type": "host-device", ` + keys + `}`))
		if err == nil || fault.Of(err).Key != want || fault.Of(err).Code != CodeInvalidNetwork {
			t.Errorf("%s: %+v, %v", keys, n, err)
		}
	}
	for _, keys := range []string{`"pciBusID": "0000:ff:1f.7"`, `"capabilities": {"deviceID": true}`, `"runtimeConfig": {"deviceID": "mlx5_core.sf.4"}`} {
		n, err := Parse([]byte(`{"cniVersion": "1.1.0", "name": "lent", "type": "host-device", ` + keys + `}`))
		if err != nil {
			t.Errorf("%s: %v", keys, err)
			continue
		}
		a := attachment(t, "c1")
		if _, err := Attach(t.Context(), n, a); err == nil {
			t.Errorf("%s: ADD succeeds", keys)
		}
		if err := Detach(t.Context(), n, a); err != nil {
			t.Errorf("%s: DEL of nothing: %v", keys, err)
		}
	}
}
