// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

// A dhcpWorld is a host with a bridge and a DHCP server on it. macvlan can't reach its own master, so
// it has uplink, which is wired to the bridge.
type dhcpWorld struct {
	*world
	daemon *running
}

// The server's address is its network's router, too.
const dhcpServer = "10.77.0.1"

// newDHCPWorld makes one with a container c1, and without a daemon. options are dnsmasq's.
func newDHCPWorld(t *testing.T, options ...string) *dhcpWorld {
	t.Helper()
	w := &dhcpWorld{world: newWorld(t, t.TempDir())}
	w.must("", "sh", "-ec", `mkdir /run/cni /run/dhcp
		ip link add br0 address 02:00:00:00:00:01 type bridge forward_delay 0; ip link set br0 up
		ip link add uplink up type veth peer port; ip link set port master br0 up; ip address add `+dhcpServer+`/24 dev br0`)
	if err := w.netns("c1"); err != nil {
		t.Fatal(err)
	}
	if options != nil {
		w.dnsmasq(options...)
	}
	return w
}

// dnsmasq starts the server. Without no-ping it would ask for three seconds whether an address is in
// use.
func (w *dhcpWorld) dnsmasq(options ...string) *running {
	w.t.Helper()
	args := append([]string{"--keep-in-foreground", "--conf-file=/dev/null", "--port=0", "--no-ping", "--interface=br0", "--bind-interfaces",
		"--user=root", "--pid-file=", "--dhcp-leasefile=/run/dhcp/leases", "--log-dhcp", "--log-facility=/run/dhcp/log"}, options...)
	server := w.background("dnsmasq", args...)
	w.wait("the server", func() bool { return strings.Contains(w.server(), "DHCP, IP range") })
	return server
}

// oneHour are the options of a server that has a range.
var oneHour = []string{"--dhcp-authoritative", "--dhcp-range=10.77.0.10,10.77.0.250,255.255.255.0,1h"}

// server is the server's log.
func (w *dhcpWorld) server() string {
	text, _ := w.exec("", "cat", "/run/dhcp/log")
	return text
}

// heard counts the server's messages of a kind.
func (w *dhcpWorld) heard(message string) int { return strings.Count(w.server(), message+"(") }

// leases are the lines of the server's file.
func (w *dhcpWorld) leases() string {
	text, _ := w.exec("", "cat", "/run/dhcp/leases")
	return text
}

// A running is a program that the test ends, if it doesn't do so itself.
type running struct {
	*exec.Cmd
	said *locked
	end  func() // twice is fine
}

// A locked is a buffer for several goroutines.
type locked struct {
	sync.Mutex
	bytes.Buffer
}

func (l *locked) Write(b []byte) (int, error) {
	l.Lock()
	defer l.Unlock()
	return l.Buffer.Write(b)
}

func (l *locked) String() string {
	l.Lock()
	defer l.Unlock()
	return l.Buffer.String()
}

func (w *dhcpWorld) background(program string, args ...string) *running {
	w.t.Helper()
	r := &running{Cmd: exec.Command(program, args...), said: &locked{}}
	r.Stdout, r.Stderr = r.said, r.said
	if err := w.start("", r.Cmd); err != nil {
		w.t.Fatal(err)
	}
	r.end = sync.OnceFunc(func() {
		_ = r.Process.Signal(syscall.SIGKILL)
		_ = r.Wait()
	})
	w.t.Cleanup(func() {
		r.end()
		if w.t.Failed() {
			w.t.Logf("%s said:\n%s", filepath.Base(program), r.said)
		}
	})
	return r
}

// wait waits for what a hang alone keeps from coming.
func (w *dhcpWorld) wait(what string, done func() bool) {
	w.t.Helper()
	for end := time.Now().Add(time.Minute); !done(); time.Sleep(20 * time.Millisecond) {
		if time.Now().After(end) {
			w.t.Fatalf("waited in vain for %s", what)
		}
	}
}

// dhcpDaemons are who may have the leases, by name.
func dhcpDaemons() map[string][]string {
	return map[string][]string{
		"reference": {filepath.Join(referenceDir(), "dhcp"), "daemon"},
		"ours":      {swiftctl(), "dhcp"},
	}
}

// serve starts a daemon.
func (w *dhcpWorld) serve(command []string, args ...string) *running {
	w.t.Helper()
	w.daemon = w.background(command[0], append(command[1:], args...)...)
	w.wait("the daemon's socket", func() bool { _, err := w.exec("", "test", "-S", "/run/cni/dhcp.sock"); return err == nil })
	return w.daemon
}

// lan is a configuration with keys of bridge's, and others of dhcp's.
func lan(keys, ipam string) string {
	return fmt.Sprintf(`{"cniVersion":"1.1.0","name":"lan","type":"bridge","bridge":"br0"%s,"ipam":{"type":"dhcp"%s}}`, keys, ipam)
}

// of makes a call of a container's. plugins are directories; the first has the program.
func (w *dhcpWorld) of(container, verb, conf string, plugins ...string) answer {
	w.t.Helper()
	if plugins == nil {
		plugins = []string{oursDir()}
	}
	a, err := w.run(call{verb: verb, container: container, ifName: "eth0", conf: []byte(conf), plugins: plugins[0],
		env: map[string]string{"CNI_PATH": strings.Join(plugins, ":"), "CNI_ARGS": "IgnoreUnknown=1;HOST=" + container}})
	if err != nil {
		w.t.Fatal(err)
	}
	return a
}

// well makes a call that must succeed.
func (w *dhcpWorld) well(container, verb, conf string, plugins ...string) []byte {
	w.t.Helper()
	a := w.of(container, verb, conf, plugins...)
	if a.status != 0 {
		w.t.Fatalf("%s %s: %s%s", verb, container, a.stdout, a.stderr)
	}
	return a.stdout
}

// address is that of a result.
func (w *dhcpWorld) address(result []byte) string {
	w.t.Helper()
	var res struct{ IPs []struct{ Address string } }
	if err := json.Unmarshal(result, &res); err != nil || len(res.IPs) != 1 {
		w.t.Fatalf("%v: %s", err, result)
	}
	return res.IPs[0].Address
}
