// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bytes"
	"errors"
	"fmt"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
)

// Each plugin works with each daemon, alone and for others: the lease is the address's, the server
// hears of its end, and a second DEL is fine.
func TestDHCPAttaches(t *testing.T) {
	for name, daemon := range dhcpDaemons() {
		for _, by := range []struct {
			name, conf string
			plugins    []string
			unheard    bool // the link goes before the daemon is asked to release: findings/dhcp-release.sh
		}{
			{"the reference's bridge and dhcp", lan(``, ``), []string{referenceDir()}, true},
			{"the reference's macvlan and dhcp", strings.Replace(lan(`,"master":"uplink"`, ``), `"bridge"`, `"macvlan"`, 1), []string{referenceDir()}, false},
			{"the reference's bridge, our dhcp", lan(``, ``), []string{referenceDir(), oursDir()}, true},
			{"our bridge and dhcp", lan(``, `,"request":[{"option":"121"}],"provide":[{"option":"host-name","fromArg":"HOST"}]`), []string{oursDir()}, false},
			{"our macvlan and dhcp", strings.Replace(lan(`,"master":"uplink"`, ``), `"bridge"`, `"macvlan"`, 1), []string{oursDir()}, false},
			{"the reference's macvlan, our dhcp", strings.Replace(lan(`,"master":"uplink"`, ``), `"bridge"`, `"macvlan"`, 1), []string{referenceDir(), oursDir()}, false},
		} {
			t.Run(name+"/"+by.name, func(t *testing.T) {
				t.Parallel()
				w := newDHCPWorld(t, oneHour...)
				w.serve(daemon)
				out := w.well("c1", "ADD", by.conf, by.plugins...)
				got := w.address(out)
				if address, _, _ := strings.Cut(got, "/"); !strings.Contains(w.leases(), " "+address+" ") || !strings.HasSuffix(got, "/24") {
					t.Errorf("the result is of %s, the server has %s", got, w.leases())
				}
				if id := fmt.Sprintf("%x", "\x00c1/lan/eth0"); !strings.Contains(strings.ReplaceAll(w.leases(), ":", ""), id) {
					t.Errorf("no client %s in %s", id, w.leases())
				}
				w.must("c1", "ping", "-c1", "-W60", dhcpServer)
				w.well("c1", "CHECK", by.conf, by.plugins...)
				if again := w.heard("DHCPREQUEST"); again != 1 {
					t.Errorf("the server was asked %d times", again)
				}
				w.well("c1", "DEL", by.conf, by.plugins...)
				if !by.unheard {
					w.wait("the release", func() bool { return w.heard("DHCPRELEASE") == 1 })
					if left := w.leases(); left != "" {
						t.Errorf("the server has %s", left)
					}
				}
				w.well("c1", "DEL", by.conf, by.plugins...)
				w.finish()
			})
		}
	}
}

// Without a daemon every verb but GC fails, nothing is left, and STATUS says that no ADD can
// succeed.
func TestDHCPWithoutDaemon(t *testing.T) {
	w := newDHCPWorld(t)
	for verb, conf := range map[string]string{"ADD": lan(``, ``), "DEL": lan(``, ``)} {
		a := w.of("c1", verb, conf)
		f, err := a.failure()
		if want := "error dialing DHCP daemon: dial unix /run/cni/dhcp.sock: connect: no such file or directory"; err != nil || f.Msg != want || f.Code != 999 {
			t.Errorf("%s: %v, %+v", verb, err, f)
		}
		if err := w.noTrace(); err != nil {
			t.Errorf("%s: %v", verb, err)
		}
	}
	if f, err := w.of("", "STATUS", lan(``, ``)).failure(); err != nil || f.Code != 50 {
		t.Errorf("STATUS: %v, %+v", err, f)
	}
	w.well("", "GC", lan(``, `,"cni.dev/valid-attachments":[]`))
}

// A daemon that's killed leaves its leases to the next one, which knows them without asking the
// server and can give them back.
func TestDHCPDaemonIsKilled(t *testing.T) {
	w := newDHCPWorld(t, oneHour...)
	daemon := dhcpDaemons()["ours"]
	w.serve(daemon, "-pidfile", "/run/cni/pid", "-timeout=5s")
	if pid := w.must("", "cat", "/run/cni/pid"); pid != fmt.Sprint(w.daemon.Process.Pid) {
		t.Errorf("its number is %q", pid)
	}
	first := w.address(w.well("c1", "ADD", lan(``, ``)))
	asked := w.heard("DHCPREQUEST")
	w.daemon.end()
	if f, err := w.of("c1", "CHECK", lan(``, ``)).failure(); err != nil || !strings.HasSuffix(f.Msg, "connect: connection refused") {
		t.Errorf("CHECK without a daemon: %v, %+v", err, f)
	}
	w.serve(daemon, "--pidfile=/run/cni/pid")
	w.wait("the daemon", func() bool { return w.of("", "STATUS", lan(``, ``)).status == 0 })
	w.well("c1", "CHECK", lan(``, ``))
	if again := w.heard("DHCPREQUEST"); again != asked {
		t.Errorf("the server was asked again")
	}
	if !strings.Contains(w.daemon.said.String(), "is taken up") {
		t.Errorf("the daemon said %s", w.daemon.said)
	}
	if address, _, _ := strings.Cut(first, "/"); !strings.Contains(w.leases(), " "+address+" ") {
		t.Errorf("the server has %s", w.leases())
	}
	w.well("c1", "DEL", lan(``, ``))
	w.wait("the release", func() bool { return w.heard("DHCPRELEASE") == 1 })
	_ = w.daemon.Process.Signal(syscall.SIGTERM)
	_ = w.daemon.Wait()
	if left := w.must("", "ls", "/run/cni"); left != "dhcp.leases\n" {
		t.Errorf("the daemon left %q", left)
	}
	w.finish()
}

// A server that never answers makes ADD fail in time, with nothing left.
func TestDHCPServerIsSilent(t *testing.T) {
	w := newDHCPWorld(t)
	w.serve(dhcpDaemons()["ours"], "-timeout=200ms", "-resendmax=100ms", "-resendtimeout=1s")
	f, err := w.of("c1", "ADD", lan(`,"ipMasq":true,"macspoofchk":true`, ``)).failure()
	if err != nil || f.Msg != "error calling DHCP.Allocate: no more tries" {
		t.Errorf("%v, %+v", err, f)
	}
	if err := w.noTrace(); err != nil {
		t.Error(err)
	}
}

// An address that the bridge can't serve is given back.
func TestDHCPUselessAddress(t *testing.T) {
	for name, daemon := range dhcpDaemons() {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newDHCPWorld(t, append([]string{"--dhcp-option=3,10.77.0.254"}, oneHour...)...)
			w.serve(daemon)
			f, err := w.of("c1", "ADD", lan(`,"isGateway":true`, ``)).failure() // the bridge has another address of the subnet
			if err != nil || !strings.Contains(f.Msg, "different") {
				t.Errorf("%v, %+v", err, f)
			}
			if err := w.noTrace(); err != nil {
				t.Error(err)
			}
			if name == "ours" { // the reference's can't send it without the address
				w.wait("the release", func() bool { return w.heard("DHCPRELEASE") == 1 })
			}
		})
	}
}

// A unit that starts the reference's daemon by the plugin's name fails, and says what is meant.
func TestDHCPIsNoDaemon(t *testing.T) {
	w := newWorld(t, t.TempDir())
	out, err := w.exec("", filepath.Join(oursDir(), "dhcp"), "daemon", "-socketpath", "/run/x")
	var exit *exec.ExitError
	if !errors.As(err, &exit) || exit.ExitCode() != 1 || !strings.Contains(out, "swiftctl dhcp") {
		t.Errorf("%v: %q", err, out)
	}
}

// An ADD that's killed while the daemon asks leaves nothing behind the next DEL.
func TestDHCPAddIsKilled(t *testing.T) {
	w := newDHCPWorld(t)
	w.serve(dhcpDaemons()["ours"])
	add := call{verb: "ADD", container: "c1", ifName: "eth0", conf: []byte(lan(``, ``)), plugins: oursDir()}
	cmd := exec.Command(filepath.Join(oursDir(), "bridge"))
	cmd.Env, cmd.Stdin = add.environment(), bytes.NewReader(add.conf)
	if err := w.start("", cmd); err != nil {
		t.Fatal(err)
	}
	w.wait("the daemon to ask", func() bool { return strings.Contains(w.daemon.said.String(), "acquiring lease") })
	_ = cmd.Process.Kill()
	_ = cmd.Wait()
	w.well("c1", "DEL", lan(``, ``))
	if err := w.noTrace(); err != nil {
		t.Error(err)
	}
	w.dnsmasq(oneHour...)
	w.well("c1", "ADD", lan(``, ``))
	if n := strings.Count(w.leases(), "\n"); n != 1 {
		t.Errorf("the server has %s", w.leases())
	}
	w.finish()
	w.wait("the release", func() bool { return w.heard("DHCPRELEASE") == 1 })
}

// Names of long containers make long client IDs, which are cut where the reference cuts them: each
// daemon finds the lease again.
func TestDHCPLongNames(t *testing.T) {
	long := strings.Repeat("c", 64)
	conf := strings.Replace(lan(``, ``), `"lan"`, `"`+strings.Repeat("n", 200)+`"`, 1)
	for name, daemon := range dhcpDaemons() {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newDHCPWorld(t, oneHour...)
			if err := w.netns(long); err != nil {
				t.Fatal(err)
			}
			w.serve(daemon)
			w.well(long, "ADD", conf)
			id := fmt.Sprintf("%x", ("\x00" + long + "/" + strings.Repeat("n", 200))[:255])
			if !strings.Contains(strings.ReplaceAll(w.leases(), ":", ""), id) {
				t.Errorf("no client %s in %s", id, w.leases())
			}
			w.well(long, "DEL", conf)
			w.wait("the release", func() bool { return w.heard("DHCPRELEASE") == 1 })
		})
	}
}
