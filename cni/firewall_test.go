// SPDX-License-Identifier: Apache-2.0

package cni

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"

	"github.com/swiftcni/swiftcni/internal/dbus"
	"github.com/swiftcni/swiftcni/internal/fault"
	"github.com/swiftcni/swiftcni/internal/firewalld"
	"github.com/swiftcni/swiftcni/internal/process"
	"github.com/swiftcni/swiftcni/internal/result"
	"github.com/swiftcni/swiftcni/internal/test/nstest"
	"github.com/swiftcni/swiftcni/nft"
)

// newFirewallWorld is a portWorld whose outside knows the way back, and where the host forwards nothing of its own accord.
func newFirewallWorld(t *testing.T, keys string) *portWorld {
	w := newPortWorldWith(t, keys)
	nstest.Run(t, w.outside, "ip", "route", "add", "10.9.0.0/24", "via", hostOutside4)
	nstest.Run(t, w.outside, "ip", "route", "add", "fd00:9::/64", "via", hostOutside6)
	serveTest(t, w.outside, "outside", 80)
	return w
}

func dropForwarding(t *testing.T) {
	nstest.Run(t, "", "iptables", "-P", "FORWARD", "DROP")
	nstest.Run(t, "", "ip6tables", "-P", "FORWARD", "DROP")
}

// firewall parses firewall's configuration for a container, after bridge's.
func (w *portWorld) firewall(t *testing.T, id, keys string) *Network {
	t.Helper()
	prev, err := json.Marshal(w.results[id])
	if err != nil {
		t.Fatal(err)
	}
	n, err := parse([]byte(fmt.Sprintf(`{"cniVersion":"1.1.0","name":%q,"type":"firewall",%s"prevResult":%s}`, w.network.conf.Name, keys, prev)))
	if err != nil {
		t.Fatal(err)
	}
	return n
}

// open adds a container, which CHECK must like, and returns its DEL.
func (w *portWorld) open(t *testing.T, id, keys string) (del func()) {
	t.Helper()
	n := w.firewall(t, id, keys)
	res, err := firewallRoom.add(t.Context(), n, w.containers[id])
	if err != nil {
		t.Fatal(err)
	}
	if res != n.told.Prev {
		t.Errorf("result %+v, want %+v", res, n.told.Prev)
	}
	if err := firewallRoom.check(t.Context(), n, w.containers[id], nil); err != nil {
		t.Error("check:", err)
	}
	return func() {
		t.Helper()
		if err := firewallRoom.del(t.Context(), n, w.containers[id]); err != nil {
			t.Error("del:", err)
		}
	}
}

// reaches wants a container to reach the outside, or not, by both families.
func (w *portWorld) reaches(t *testing.T, id string, want bool, why string) {
	t.Helper()
	for _, to := range []string{"198.51.100.2:80", "[2001:db8::2]:80"} {
		if got := portAnswer(t, w.containers[id].NetNS, "udp", to); (got == "outside") != want {
			t.Errorf("%s to %s: got %q: %s", id, to, got, why)
		}
	}
}

func TestFirewallOpensTheWay(t *testing.T) {
	nstest.Full(t, "it takes long")
	w := newFirewallWorld(t, "")
	dropForwarding(t)
	w.reaches(t, "c1", false, "not added")
	del := w.open(t, "c1", "")
	w.reaches(t, "c1", true, "added")
	w.reaches(t, "c2", false, "not added")
	if got := portAnswer(t, w.outside, "udp", w.results["c1"].IPs[0].Address.Addr().String()+":80"); got != "" {
		t.Errorf("from outside: got %q", got)
	}
	del()
	del()
	w.reaches(t, "c1", false, "deleted")
	if l := nstest.Run(t, "", "nft", "list", "ruleset"); strings.Contains(l, "comment \"net") {
		t.Error("left:", l)
	}
}

// DEL knows the owner alone, and GC those that are valid.
func TestFirewallDelWithoutResultAndGC(t *testing.T) {
	nstest.Full(t, "it takes long")
	w := newFirewallWorld(t, "")
	dropForwarding(t)
	w.open(t, "c1", "")
	w.open(t, "c2", "")
	bare, _ := parse(bareText(w))
	if err := firewallRoom.del(t.Context(), bare, w.containers["c1"]); err != nil {
		t.Fatal(err)
	}
	w.reaches(t, "c1", false, "deleted by owner")
	w.reaches(t, "c2", true, "c2's own")
	if err := firewallRoom.reclaim(t.Context(), bare); err != nil {
		t.Fatal(err)
	}
	if err := firewallRoom.gc(t.Context(), bare, []Attachment{{ContainerID: "c2", IfName: "eth0"}}); err != nil {
		t.Fatal(err)
	}
	w.reaches(t, "c2", true, "valid")
	if err := firewallRoom.gc(t.Context(), bare, []Attachment{}); err != nil {
		t.Fatal(err)
	}
	w.reaches(t, "c2", false, "collected")
}

// bareText is a configuration with nothing but its name, and a key that's wrong.
func bareText(w *portWorld) []byte {
	return []byte(fmt.Sprintf(`{"cniVersion":"1.1.0","name":%q,"type":"firewall","ingressPolicy":7}`, w.network.conf.Name))
}

// CHECK says what's missing, and makes nothing.
func TestFirewallCheckChangesNothing(t *testing.T) {
	w := newFirewallWorld(t, "")
	n := w.firewall(t, "c1", "")
	dropForwarding(t)
	before := nstest.Run(t, "", "nft", "list", "ruleset")
	if err := firewallRoom.check(t.Context(), n, w.containers["c1"], nil); err == nil {
		t.Error("no error without ADD")
	}
	if after := nstest.Run(t, "", "nft", "list", "ruleset"); after != before {
		t.Errorf("CHECK made\n%s", after)
	}
	w.open(t, "c1", "")
	nstest.Run(t, "", "iptables", "-D", "FORWARD", "-m", "comment", "--comment", "CNI firewall plugin rules", "-j", "CNI-FORWARD")
	err := firewallRoom.check(t.Context(), n, w.containers["c1"], nil)
	if err == nil || !strings.Contains(err.Error(), "jump from chain ip filter FORWARD to CNI-FORWARD is missing") {
		t.Error("check without the jump:", err)
	}
}

// Isolated containers don't reach each other by the bridge, whether the kernel shows bridged packets to the ruleset or
// not.
func TestFirewallIsolates(t *testing.T) {
	w := newFirewallWorld(t, "")
	c2 := w.results["c2"].IPs[0].Address.Addr().String() + ":80"
	expect := func(within bool, why string) {
		t.Helper()
		got := portAnswer(t, w.containers["c1"].NetNS, "udp", c2)
		if (got == "c2:80") != within {
			t.Errorf("c1 to c2: got %q: %s", got, why)
		}
		w.reaches(t, "c1", true, why)
	}
	nstest.Run(t, "", "sh", "-c", "for f in /proc/sys/net/bridge/bridge-nf-call-ip*tables; do echo 0 > $f; done")
	for _, policy := range []string{"open", "same-bridge", "isolated"} {
		for _, id := range []string{"c1", "c2"} {
			w.open(t, id, `"ingressPolicy":"`+policy+`",`)
		}
		expect(policy != "isolated", policy)
	}
}

func TestFirewallCustomAdminChain(t *testing.T) {
	w := newFirewallWorld(t, "")
	dropForwarding(t)
	w.open(t, "c1", `"iptablesAdminChainName":"MINE",`)
	w.open(t, "c2", ``)
	w.reaches(t, "c1", true, "added")
	nstest.Run(t, "", "iptables", "-A", "MINE", "-j", "DROP")
	if got := portAnswer(t, w.containers["c1"].NetNS, "udp", "198.51.100.2:80"); got != "" {
		t.Errorf("got %q in spite of the administrator's rule", got)
	}
	rules := nstest.Run(t, "", "iptables", "-S", "CNI-FORWARD")
	if n := strings.Count(rules, "-A "); n != 3 {
		t.Errorf("%d rules, want two jumps and one that accepts:\n%s", n, rules)
	}
}

// Where iptables-legacy drops what the host forwards, ADD warns, STATUS says so, and neither fails for it.
func TestFirewallNamesLegacy(t *testing.T) {
	nstest.Full(t, "it needs the machine's kernel modules")
	w := newFirewallWorld(t, "")
	warnings := func() (list []string) {
		t.Helper()
		n, a := w.firewall(t, "c1", ""), w.containers["c1"]
		ctx := process.WithWarn(t.Context(), func(text string) { list = append(list, text) })
		if _, err := firewallRoom.add(ctx, n, a); err != nil {
			t.Fatal(err)
		}
		return list
	}
	status := func() error { return firewallRoom.status(t.Context(), w.firewall(t, "c1", "")) }
	expect := func(limited bool, why string) {
		t.Helper()
		got := warnings()
		if (len(got) == 1) != limited || limited && !strings.Contains(got[0], "FORWARD of iptables-legacy filter drops packets from 10.9.0.2,") {
			t.Errorf("%s: warnings %q", why, got)
		}
		if err := status(); (err != nil) != limited || limited && fault.Of(err).Code != CodeLimited {
			t.Errorf("%s: status %v", why, err)
		}
	}
	if names, _ := os.ReadFile("/proc/thread-self/net/ip_tables_names"); len(names) > 0 {
		t.Fatalf("tables %q", names)
	}
	expect(false, "no table")
	nstest.Run(t, "", "iptables-legacy", "-L")
	t.Cleanup(func() { nstest.Run(t, "", "sh", "-c", "iptables-legacy -F; iptables-legacy -P FORWARD ACCEPT") })
	expect(false, "an empty table")
	nstest.Run(t, "", "iptables-legacy", "-P", "FORWARD", "DROP")
	expect(true, "a policy")
	if got := portAnswer(t, w.containers["c1"].NetNS, "udp", "198.51.100.2:80"); got != "" {
		t.Errorf("it isn't dropped: %q", got)
	}
	nstest.Run(t, "", "iptables-legacy", "-A", "FORWARD", "-s", "10.9.0.0/24", "-j", "ACCEPT")
	expect(false, "a rule of the administrator's")
}

// startFirewalld runs a system bus, where only the variable says that it is, and the real firewalld in the test's namespaces,
// with a configuration of its own. It returns the file that firewalld logs its calls in.
func startFirewalld(t *testing.T) (log string) {
	t.Helper()
	dir := t.TempDir()
	t.Setenv(dbus.SystemBusVar, "unix:path="+dir+"/bus")
	start := func(name string, args ...string) {
		cmd := exec.Command(name, args...)
		cmd.Stderr = os.Stderr
		if err := cmd.Start(); err != nil {
			t.Fatal("packages firewalld and dbus-daemon are needed: ", err)
		}
		t.Cleanup(func() { _ = cmd.Process.Kill(); _ = cmd.Wait() })
	}
	// The bus starts no services: firewalld asks for polkit's at each call, which a machine without a desktop can't start.
	if err := os.WriteFile(dir+"/bus.conf", []byte(`<busconfig><type>system</type><listen>unix:path=`+dir+`/bus</listen><auth>EXTERNAL</auth>
<policy context="default"><allow user="*"/><allow own="*"/><allow send_destination="*"/><allow receive_sender="*"/></policy></busconfig>`), 0o644); err != nil {
		t.Fatal(err)
	}
	start("dbus-daemon", "--nofork", "--nopidfile", "--config-file="+dir+"/bus.conf")
	start("firewalld", "--nofork", "--nopid", "--system-config", dir, "--debug=1", "--log-target", "file", "--log-file", dir+"/log")
	for end := time.Now().Add(5 * time.Minute); ; time.Sleep(50 * time.Millisecond) {
		if f, _ := firewalld.Dial(); f != nil {
			f.Close()
			if exec.Command("firewall-cmd", "--state").Run() == nil {
				return dir + "/log"
			}
		}
		if time.Now().After(end) {
			log, _ := os.ReadFile(dir + "/log")
			t.Fatalf("firewalld doesn't start:\n%s", log)
		}
	}
}

// firewallCmd runs firewalld's program, which waits 25 s for an answer and no more. On a busy machine a reload takes longer. It's
// done all the same, and is not to be asked for again: one reload would wait for the other.
func firewallCmd(t *testing.T, args ...string) string {
	t.Helper()
	for end := time.Now().Add(10 * time.Minute); ; {
		out, err := exec.Command("firewall-cmd", args...).CombinedOutput()
		if err == nil {
			return string(out)
		}
		if !strings.Contains(string(out), "Did not receive a reply") {
			t.Fatalf("firewall-cmd %v: %v: %s", args, err, out)
		}
		// It answers in turn, so it's done with the command when it says how it is.
		for exec.Command("firewall-cmd", "--state").Run() != nil {
			if time.Now().After(end) {
				t.Fatalf("firewall-cmd %v: %v: %s", args, err, out)
			}
		}
		if args[0] == "--reload" {
			return ""
		}
	}
}

func TestFirewalld(t *testing.T) {
	nstest.Full(t, "it needs firewalld")
	w := newFirewallWorld(t, "")
	n := w.firewall(t, "c1", `"backend":"firewalld",`)
	a := w.containers["c1"]
	if _, err := firewallRoom.add(t.Context(), n, a); err == nil || fault.Of(err).Key != "backend" {
		t.Errorf("without firewalld: %v", err)
	}
	log := startFirewalld(t)
	sources := func() string { return firewallCmd(t, "--zone=trusted", "--list-sources") }
	w.reaches(t, "c1", false, "firewalld rejects")
	if l := nstest.Run(t, "", "nft", "list", "ruleset"); strings.Contains(l, "comment \"net") {
		t.Error("a refused ADD left:", l)
	}

	w.open(t, "c1", "")
	w.reaches(t, "c1", true, "added")
	w.open(t, "c2", `"backend":"firewalld",`)
	w.open(t, "c2", `"backend":"firewalld",`)
	for _, ip := range w.results["c1"].IPs {
		if s := sources(); !strings.Contains(s, result.Single(ip.Address.Addr()).String()) {
			t.Errorf("sources %s lack %s", s, ip.Address)
		}
	}
	for keys, key := range map[string]string{`"firewalldZone":"nozone",`: "firewalldZone", `"firewalldZone":"public",`: "firewalldZone"} {
		var e *Error
		if _, err := firewallRoom.add(t.Context(), w.firewall(t, "c1", keys), a); !errors.As(err, &e) || e.Key != key {
			t.Errorf("%s: %v", keys, err)
		}
	}
	del := w.open(t, "c1", "") // the refused ones took it back

	// A reload forgets them, and CHECK says what to do about it.
	firewallCmd(t, "--reload")
	w.reaches(t, "c1", false, "reloaded")
	err := firewallRoom.check(t.Context(), n, a, nil)
	if err == nil || !strings.Contains(err.Error(), "firewall-cmd --permanent --zone=trusted --add-source=SUBNET") {
		t.Errorf("check after a reload: %v", err)
	}
	for _, subnet := range []string{"10.9.0.0/24", "fd00:9::/64"} {
		firewallCmd(t, "--permanent", "--zone=trusted", "--add-source="+subnet)
	}
	firewallCmd(t, "--reload")
	w.reaches(t, "c1", true, "the subnets are sources for good")

	w.open(t, "c1", "")
	del()
	for _, ip := range w.results["c1"].IPs {
		if s := sources(); strings.Contains(s, result.Single(ip.Address.Addr()).String()) {
			t.Errorf("sources %s still have %s", s, ip.Address)
		}
	}
	// DEL without prevResult finds them by the owner.
	w.open(t, "c2", "")
	bare, _ := parse(bareText(w))
	if err := firewallRoom.del(t.Context(), bare, w.containers["c2"]); err != nil {
		t.Error(err)
	}
	if s := strings.Fields(sources()); len(s) != 2 {
		t.Errorf("left: %v", s)
	}
	text, err := os.ReadFile(log)
	if err != nil || !strings.Contains(string(text), "zone.removeSource('trusted', '"+result.Single(w.results["c1"].IPs[0].Address.Addr()).String()+"')") {
		t.Error("removeSource doesn't name the zone:", err)
	}
	// A zone that the configuration names by now isn't the one that the source is in.
	w.open(t, "c1", "")
	w.remove(t, "c1", `"firewalldZone":"public",`)
	w.open(t, "c1", "")
	w.remove(t, "c1", `"firewalldZone":"nozone",`)
	if s := strings.Fields(sources()); len(s) != 2 {
		t.Errorf("left by another zone's name: %v", s)
	}
}

func (w *portWorld) remove(t *testing.T, id, keys string) {
	t.Helper()
	if err := firewallRoom.del(t.Context(), w.firewall(t, id, keys), w.containers[id]); err != nil {
		t.Error("del:", err)
	}
}

func TestFirewallStatus(t *testing.T) {
	nstest.Kernel(t)
	for keys, code := range map[string]uint{"": 0, `,"backend":"iptables"`: 0, `,"backend":"firewalld"`: CodeUnavailable, `,"ingressPolicy":"x"`: CodeInvalidNetwork} {
		n, err := parse([]byte(`{"cniVersion":"1.1.0","name":"net","type":"firewall"` + keys + `}`))
		if err != nil {
			t.Fatal(err)
		}
		err = firewallRoom.status(t.Context(), n)
		if code == 0 && err != nil || code != 0 && (err == nil || fault.Of(err).Code != code) {
			t.Errorf("%s: %v", keys, err)
		}
	}
	if nft.DefaultAdminChain != "CNI-ADMIN" {
		t.Error("users know the chain by its name")
	}
}
