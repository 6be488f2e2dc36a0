// SPDX-License-Identifier: Apache-2.0

package main

import (
	"fmt"
	"strings"
	"testing"
)

// Each plugin works with each daemon, alone and for others: the lease is the address's, the server
// hears of its end, and a second DEL is fine.
func TestDHCPAttaches(t *testing.T) {
	for name, daemon := range dhcpDaemons() {
		for _, by := range []struct {
			name, conf string
			plugins    []string
		}{
			{"our bridge and dhcp", lan(``, `,"request":[{"option":"121"}],"provide":[{"option":"host-name","fromArg":"HOST"}]`), []string{oursDir()}},
			{"the reference's macvlan, our dhcp", strings.Replace(lan(`,"master":"uplink"`, ``), `"bridge"`, `"macvlan"`, 1), []string{referenceDir(), oursDir()}},
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
				w.wait("the release", func() bool { return w.heard("DHCPRELEASE") == 1 })
				if left := w.leases(); left != "" {
					t.Errorf("the server has %s", left)
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
