// SPDX-License-Identifier: Apache-2.0

package cni

import (
	"encoding/json"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"reflect"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/swiftcni/swiftcni/internal/fault"
	"github.com/swiftcni/swiftcni/internal/flock"
	"github.com/swiftcni/swiftcni/internal/hostid"
	"github.com/swiftcni/swiftcni/internal/names"
	"github.com/swiftcni/swiftcni/internal/test/nstest"
	"github.com/swiftcni/swiftcni/internal/tuning"
	"github.com/swiftcni/swiftcni/rtnl"
	"golang.org/x/sys/unix"
)

// A tuned is a container with a link eth0, and a directory for what was saved.
type tuned struct {
	Attachment
	dir string
}

func newTuned(t *testing.T) *tuned {
	w := &tuned{Attachment{ContainerID: "c1", IfName: "eth0", NetNS: nstest.New(t, "c1")}, t.TempDir()}
	if err := os.Chmod(w.dir, 0o700); err != nil { // as the default directory is: nobody else can lock it
		t.Fatal(err)
	}
	nstest.Run(t, w.NetNS, "ip", "link", "add", "eth0", "address", "02:00:00:00:00:01", "type", "veth", "peer", "name", "eth1")
	nstest.Run(t, w.NetNS, "ip", "link", "set", "eth0", "up")
	return w
}

// conf parses a configuration with more keys, after a plugin that made eth0.
func (w *tuned) conf(t testing.TB, keys string) *Network {
	t.Helper()
	if keys != "" {
		keys += ","
	}
	n, err := parse([]byte(fmt.Sprintf(`{"cniVersion":"1.1.0","name":"net","type":"tuning","dataDir":%q,%s"prevResult":{"cniVersion":"1.1.0",`+
		`"interfaces":[{"name":"br0"},{"mac":"02:00:00:00:00:01","name":"eth0","sandbox":"/x"}],"ips":[{"address":"10.1.0.2/24","interface":1}]}}`, w.dir, keys)))
	if err != nil {
		t.Fatal(err)
	}
	return n
}

func (w *tuned) add(t testing.TB, keys string) *Result {
	t.Helper()
	n := w.conf(t, keys)
	res, err := tuningRoom.add(t.Context(), n, w.Attachment)
	if err != nil {
		t.Fatal(err)
	}
	if err := tuningRoom.check(t.Context(), n, w.Attachment, nil); err != nil {
		t.Errorf("%s: check: %v", keys, err)
	}
	return res
}

func (w *tuned) del(t testing.TB) {
	t.Helper()
	for range 2 {
		if err := tuningRoom.del(t.Context(), w.conf(t, ""), w.Attachment); err != nil {
			t.Error("del:", err)
		}
	}
	if left, _ := os.ReadDir(w.dir); len(left) > 0 {
		t.Error("left:", left)
	}
}

// state is the link's attributes.
func (w *tuned) state(t testing.TB) string {
	t.Helper()
	ns, err := rtnl.OpenNetNS(w.NetNS)
	if err != nil {
		t.Fatal(err)
	}
	defer ns.Close()
	conn, err := rtnl.Dial(ns)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	l, err := conn.Link("eth0")
	if err != nil {
		t.Fatal(err)
	}
	return fmt.Sprint(l.MAC, " ", l.MTU, " ", l.Promisc == rtnl.On, " ", l.AllMulticast == rtnl.On, " ", l.TxQueueLen)
}

func (w *tuned) sysctl(t testing.TB, name string) string {
	t.Helper()
	return strings.TrimSpace(nstest.Run(t, w.NetNS, "cat", "/proc/sys/net/"+name))
}

func TestTuningSetsAndRestores(t *testing.T) {
	w := newTuned(t)
	before := w.state(t)
	res := w.add(t, `"mac":"02:00:00:00:00:BB","mtu":1400,"promisc":true,"allmulti":true,"txQLen":0`)
	if got, want := w.state(t), "02:00:00:00:00:bb 1400 true true -1"; got != want {
		t.Errorf("got %s, want %s", got, want)
	}
	if res.Interfaces[1].MAC != "02:00:00:00:00:BB" || res.Interfaces[0].MAC != "" || len(res.IPs) != 1 {
		t.Errorf("result %+v", res)
	}
	text, err := os.ReadFile(filepath.Join(w.dir, "c1_eth0.json"))
	if err != nil || !strings.Contains(string(text), `"mac": "02:00:00:00:00:01"`) {
		t.Errorf("saved %s, %v", text, err)
	}
	// What counts is how the link was before the first of several.
	w.add(t, `"mtu":1300`)
	w.add(t, `"allmulti":false`)
	w.del(t)
	if after := w.state(t); after != before {
		t.Errorf("after DEL %s, want %s", after, before)
	}
}

// Nothing asked for is nothing done, and the result passes through.
func TestTuningOfNothing(t *testing.T) {
	w := newTuned(t)
	before := w.state(t)
	for _, keys := range []string{"", `"sysctl":{}`, `"mtu":0,"promisc":false`, `"sysctl":null,"mac":"","args":{"cni":{}}`} {
		if res := w.add(t, keys); !reflect.DeepEqual(res, w.conf(t, keys).told.Prev) {
			t.Errorf("%s: result %+v", keys, res)
		}
	}
	if after := w.state(t); after != before {
		t.Errorf("changed to %s", after)
	}
	if left, _ := os.ReadDir(w.dir); len(left) > 0 {
		t.Error("left:", left)
	}
}

func TestTuningPrecedence(t *testing.T) {
	w := newTuned(t)
	for _, x := range []struct{ args, keys, want string }{
		{"", `"mac":"02:00:00:00:00:03"`, "02:00:00:00:00:03"},
		{"02:00:00:00:00:04", `"mac":"02:00:00:00:00:03"`, "02:00:00:00:00:04"},
		{"02:00:00:00:00:04", `"mac":"02:00:00:00:00:03","runtimeConfig":{"mac":"02:00:00:00:00:05"}`, "02:00:00:00:00:05"},
		{"02:00:00:00:00:04", `"args":{"cni":{"mac":"02:00:00:00:00:06"}},"runtimeConfig":{"mac":"02:00:00:00:00:05"}`, "02:00:00:00:00:06"},
		{"", `"mtu":1400,"args":{"cni":{"mtu":1300}}`, " 1300 "},
		{"", `"args":{"cni":{"txQLen":7,"allmulti":false}},"txQLen":8,"allmulti":true`, "false 7"},
		{"", `"promisc":true,"args":{"cni":{"promisc":false}}`, "false false"},
	} {
		w.MAC, _ = net.ParseMAC(x.args)
		w.add(t, x.keys)
		if got := w.state(t); !strings.Contains(got, x.want) {
			t.Errorf("%s: got %s, want %s", x.keys, got, x.want)
		}
		w.del(t)
	}
}

func TestTuningSysctls(t *testing.T) {
	w := newTuned(t)
	w.add(t, `"sysctl":{"net.ipv4.conf.IFNAME.arp_filter":"1","net/core/somaxconn":"77","net.ipv4.ip_local_port_range":"2000 3000","net.ipv4.conf.eth0.arp_ignore":"1"},
		"args":{"cni":{"sysctl":{"net.core.somaxconn":"78"}}}`)
	for name, want := range map[string]string{"ipv4/conf/eth0/arp_filter": "1", "core/somaxconn": "78", "ipv4/ip_local_port_range": "2000\t3000", "ipv4/conf/eth0/arp_ignore": "1"} {
		if got := w.sysctl(t, name); got != want {
			t.Errorf("%s: got %q, want %q", name, got, want)
		}
	}
	w.add(t, `"args":{"cni":{"sysctl":{"net.core.somaxconn":"79"}}}`) // without sysctl beside it
	if host := strings.TrimSpace(nstest.Run(t, "", "cat", "/proc/sys/net/core/somaxconn")); slices.Contains([]string{"77", "78", "79"}, host) {
		t.Errorf("the host has %s", host)
	}
	err := tuningRoom.check(t.Context(), w.conf(t, `"sysctl":{"net.core.somaxconn":"1"}`), w.Attachment, nil)
	if err == nil || !strings.Contains(err.Error(), "is 1, current value is 79") {
		t.Error("check:", err)
	}
	for keys, want := range map[string]string{
		`"net.nothing":"1"`:                   "net.nothing",
		`"net.ipv4.conf.IFNAME.mtu":"x"`:      "net.ipv4.conf.IFNAME.mtu",
		`"net.core.somaxconn":"many"`:         "invalid argument",
		`"net.ipv4":"1"`:                      "net.ipv4",
		`"net.ipv4.conf.eth9.arp_filter":"1"`: "no such file",
	} {
		_, err := tuningRoom.add(t.Context(), w.conf(t, `"sysctl":{`+keys+`}`), w.Attachment)
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v", keys, err)
		}
	}
	for _, key := range []string{"kernel.x", "net", "net.", "../kernel.x", "net/../kernel/x", "net/../../etc/passwd", "vm.swappiness", "xnet.core.somaxconn", "", "net.\\u0000"} {
		_, err := tuningRoom.add(t.Context(), w.conf(t, `"sysctl":{"`+key+`":"1"}`), w.Attachment)
		if err == nil || !strings.Contains(err.Error(), "sysctl") {
			t.Errorf("%q: %v", key, err)
		}
	}
}

// A refused change leaves the link, and what's saved, as they were.
func TestTuningRefused(t *testing.T) {
	w := newTuned(t)
	before := w.state(t)
	for _, keys := range []string{`"txQLen":9,"mtu":20`, `"promisc":true,"mac":"01:00:00:00:00:00"`} {
		if _, err := tuningRoom.add(t.Context(), w.conf(t, keys), w.Attachment); err == nil {
			t.Errorf("%s: no error", keys)
		}
		if after := w.state(t); after != before {
			t.Errorf("%s: changed to %s, was %s", keys, after, before)
		}
		w.del(t)
	}
}

func TestTuningCheckTellsTheDifference(t *testing.T) {
	w := newTuned(t)
	for keys, want := range map[string]string{
		`"mac":"02:00:00:00:00:BB"`: "Error: Tuning configured Ethernet of eth0 is 02:00:00:00:00:BB, current value is 02:00:00:00:00:01",
		`"mtu":1400`:                "MTU of eth0 is 1400, current value is 1500",
		`"promisc":true`:            "promisc of eth0 is true",
		`"allmulti":true`:           "allmulti of eth0 is true",
		`"txQLen":1`:                "txQLen of eth0 is 1",
	} {
		if err := tuningRoom.check(t.Context(), w.conf(t, keys), w.Attachment, nil); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v", keys, err)
		}
	}
	nstest.Run(t, w.NetNS, "ip", "link", "set", "eth0", "promisc", "on")
	if err := tuningRoom.check(t.Context(), w.conf(t, `"promisc":false`), w.Attachment, nil); err != nil {
		t.Error("a capture isn't ours to judge:", err)
	}
}

// The file goes though the namespace is gone, empty or never was.
func TestTuningDelWithoutNamespace(t *testing.T) {
	for name, change := range map[string]func(*tuned){
		"gone":  func(w *tuned) { nstest.Remove(w.NetNS) },
		"empty": func(w *tuned) { w.NetNS = "" },
		"file":  func(w *tuned) { w.NetNS = "/dev/null" },
		"torn":  func(w *tuned) { _ = os.WriteFile(filepath.Join(w.dir, "c1_eth0.json"), []byte(`{"mtu": 13`), 0o600) },
		"link": func(w *tuned) {
			w.IfName = "eth7"
			_ = os.Rename(filepath.Join(w.dir, "c1_eth0.json"), filepath.Join(w.dir, "c1_eth7.json"))
		},
	} {
		t.Run(name, func(t *testing.T) {
			w := newTuned(t)
			w.add(t, `"mtu":1300`)
			change(w)
			w.del(t)
		})
	}
}

func TestTuningKeepsContainersApart(t *testing.T) {
	w := newTuned(t)
	nstest.Run(t, w.NetNS, "ip", "link", "set", "eth1", "name", "b_eth0")
	w.ContainerID, w.IfName = "a", "b_eth0"
	w.add(t, `"mtu":1300`)
	other := &tuned{Attachment{ContainerID: "a_b", IfName: "eth0", NetNS: w.NetNS}, w.dir}
	if _, err := tuningRoom.add(t.Context(), other.conf(t, `"mtu":1200`), other.Attachment); err == nil {
		t.Error("no error for a file that's another's")
	}
	if err := tuningRoom.del(t.Context(), other.conf(t, ""), other.Attachment); err != nil {
		t.Error(err)
	}
	if left, _ := os.ReadDir(w.dir); len(left) != 1 {
		t.Error("left:", left)
	}
	w.del(t)
}

func TestTuningGC(t *testing.T) {
	w := newTuned(t)
	for _, id := range []string{"c1", "c2"} {
		w.ContainerID = id
		w.add(t, `"mtu":1300`)
	}
	foreign := filepath.Join(w.dir, "c9_eth0.json")
	if err := os.WriteFile(foreign, []byte(`{"mtu":1500}`), 0o600); err != nil {
		t.Fatal(err)
	}
	files := func(want ...string) {
		t.Helper()
		var got []string
		list, _ := os.ReadDir(w.dir)
		for _, e := range list {
			got = append(got, e.Name())
		}
		if !slices.Equal(got, want) {
			t.Errorf("files %v, want %v", got, want)
		}
	}
	n := w.conf(t, "")
	for name, err := range map[string]error{
		"reclaim": tuningRoom.reclaim(t.Context(), n),
		"GC":      tuningRoom.gc(t.Context(), n, []Attachment{{ContainerID: "c1", IfName: "eth0"}, {ContainerID: "c2", IfName: "eth0"}}),
	} {
		if err != nil {
			t.Fatal(name, err)
		}
		files("c1_eth0.json", "c2_eth0.json", "c9_eth0.json")
	}
	if err := tuningRoom.gc(t.Context(), n, []Attachment{{ContainerID: "c2", IfName: "eth0"}}); err != nil {
		t.Fatal(err)
	}
	files("c2_eth0.json", "c9_eth0.json")
}

// saved is what a file says of its attachment.
type saved struct {
	Network     string `json:"network"`
	ContainerID string `json:"containerID"`
	Boot        string `json:"boot"`
	TrueBoot    bool   `json:"trueBoot"`
	NetNS       uint64 `json:"netns"`
	HostEnd     int    `json:"hostEnd"`
}

func (s saved) write(t *testing.T, dir string) {
	t.Helper()
	text, err := json.Marshal(s)
	if err == nil {
		err = os.WriteFile(filepath.Join(dir, s.ContainerID+"_eth0.json"), text, 0o600)
	}
	if err != nil {
		t.Fatal(err)
	}
}

// GC without a list removes what is provably dead's: of another boot, or of a host end that isn't there.
func TestTuningGCOfTheDead(t *testing.T) {
	w := newTuned(t)
	host, err := hostid.Read(nil)
	if err != nil {
		t.Fatal(err)
	}
	live, gone := names.Of("net", "live", "eth0", 1), names.Of("net", "gone", "eth0", 0)
	nstest.Run(t, "", "ip", "link", "add", "name", "saved0", "index", strconv.Itoa(live.Index), "address", live.MAC.String(), "type", "veth", "peer", "name", "saved1")
	t.Cleanup(func() { nstest.Run(t, "", "ip", "link", "delete", "saved0") })
	for id, s := range map[string]saved{
		"live":      {Boot: host.Boot, NetNS: host.NetNS.Ino, HostEnd: live.Index},
		"gone":      {Boot: host.Boot, NetNS: host.NetNS.Ino, HostEnd: gone.Index},
		"elsewhere": {Boot: host.Boot, NetNS: host.NetNS.Ino + 1, HostEnd: names.Of("net", "elsewhere", "eth0", 0).Index},
		"macvlan":   {Boot: host.Boot, NetNS: host.NetNS.Ino},
		"forged":    {Boot: host.Boot, NetNS: host.NetNS.Ino, HostEnd: gone.Index}, // not that owner's
		"reboot":    {Boot: "another", TrueBoot: true, NetNS: host.NetNS.Ino},
		"mounted":   {Boot: "another", NetNS: host.NetNS.Ino}, // or so it looks
		"unknown":   {},
	} {
		s.Network, s.ContainerID = "net", id
		s.write(t, w.dir)
	}
	saved{Network: "other", ContainerID: "c1", Boot: "another", TrueBoot: true}.write(t, w.dir)
	dead := func(dry bool) string {
		t.Helper()
		list, err := tuning.ForgetDead(w.dir, nil, dry)
		if err != nil {
			t.Fatal(err)
		}
		return fmt.Sprint(list)
	}
	if got := dead(true); got != "[other/c1/eth0 net/gone/eth0 net/reboot/eth0]" {
		t.Error("dry:", got)
	}
	if err := tuningRoom.reclaim(t.Context(), w.conf(t, "")); err != nil {
		t.Fatal(err)
	}
	if got := dead(false); got != "[other/c1/eth0]" { // which is another network's
		t.Error(got)
	}
	if got := dead(false); got != "[]" {
		t.Error("again:", got)
	}
	if left, _ := os.ReadDir(w.dir); len(left) != 6 {
		t.Error("left:", left)
	}
}

func TestTuningRefusesTheHost(t *testing.T) {
	w := newTuned(t)
	w.NetNS = "/proc/thread-self/ns/net"
	if _, err := tuningRoom.add(t.Context(), w.conf(t, `"mtu":1300`), w.Attachment); err == nil || fault.Of(err).Code != CodeInvalidNetNS {
		t.Error(err)
	}
	w.NetNS = "/nowhere"
	if _, err := tuningRoom.add(t.Context(), w.conf(t, ""), w.Attachment); err == nil || fault.Of(err).Key != "CNI_NETNS" {
		t.Error(err)
	}
	if err := tuningRoom.status(t.Context(), w.conf(t, "")); err != nil {
		t.Error("status:", err)
	}
}

// What an ADD that was killed before it wrote left goes with any GC. It names no owner.
func TestTuningGCOfWhatWasNeverWritten(t *testing.T) {
	w := newTuned(t)
	left := func() int {
		list, err := os.ReadDir(w.dir)
		if err != nil {
			t.Fatal(err)
		}
		return len(list)
	}
	for _, gc := range []func() error{
		func() error { return tuningRoom.reclaim(t.Context(), w.conf(t, "")) },
		func() error { return tuningRoom.gc(t.Context(), w.conf(t, ""), nil) },
	} {
		for _, name := range []string{"c9_eth0.json.tmp", "reference_eth0.json", "c9_eth0.tmp"} {
			if err := os.WriteFile(filepath.Join(w.dir, name), nil, 0o600); err != nil {
				t.Fatal(err)
			}
		}
		if _, err := tuning.ForgetDead(w.dir, nil, true); err != nil || left() != 3 {
			t.Errorf("dry: %v, %d files are left", err, left())
		}
		if err := gc(); err != nil || left() != 2 {
			t.Errorf("%v, %d files are left", err, left())
		}
	}
}

// meanwhile locks a directory, starts something that must wait for it, does something else, and
// unlocks.
func meanwhile(t *testing.T, dir string, start func() error, do func()) {
	t.Helper()
	fd, err := flock.Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	var st unix.Stat_t
	if err := unix.Fstat(fd, &st); err != nil {
		t.Fatal(err)
	}
	waiter := fmt.Sprintf(`(?m)-> FLOCK .* %02x:%02x:%d `, unix.Major(st.Dev), unix.Minor(st.Dev), st.Ino)
	done := make(chan error, 1)
	go func() { done <- start() }()
	for waits := false; !waits; {
		locks, err := os.ReadFile("/proc/locks")
		if err != nil {
			t.Fatal(err)
		}
		waits = regexp.MustCompile(waiter).Match(locks)
		select {
		case err := <-done:
			t.Fatalf("it didn't wait: %v", err)
		default:
		}
	}
	do()
	unix.Close(fd)
	if err := <-done; err != nil {
		t.Error(err)
	}
}

// A container that comes back while GC without a list looks for the dead keeps what it saved: GC and
// ADD wait for each other.
func TestTuningGCSparesThoseThatComeBack(t *testing.T) {
	w := newTuned(t)
	host, err := hostid.Read(nil)
	if err != nil {
		t.Fatal(err)
	}
	back := names.Of("net", "back", "eth0", 0)
	saved{Network: "net", ContainerID: "back", Boot: host.Boot, NetNS: host.NetNS.Ino, HostEnd: back.Index}.write(t, w.dir)
	gc := func() error { return tuningRoom.reclaim(t.Context(), w.conf(t, "")) }
	meanwhile(t, w.dir, gc, func() {
		nstest.Run(t, "", "ip", "link", "add", "name", "saved0", "index", strconv.Itoa(back.Index), "address", back.MAC.String(), "type", "veth", "peer", "name", "saved1")
	})
	if left, _ := os.ReadDir(w.dir); len(left) != 1 {
		t.Error("left:", left)
	}
	nstest.Run(t, "", "ip", "link", "delete", "saved0")
	if err := gc(); err != nil {
		t.Error(err)
	}
	if left, _ := os.ReadDir(w.dir); len(left) != 0 {
		t.Error("left of the dead one:", left)
	}
	n := w.conf(t, `"mtu":1300`)
	meanwhile(t, w.dir, func() error { _, err := tuningRoom.add(t.Context(), n, w.Attachment); return err }, func() {})
	w.del(t)
}
