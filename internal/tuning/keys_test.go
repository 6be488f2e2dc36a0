// SPDX-License-Identifier: Apache-2.0

package tuning

import (
	"net"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"

	"github.com/swiftcni/swiftcni/rtnl"
)

func TestSysctlFiles(t *testing.T) {
	for key, want := range map[string]string{
		"net.ipv4.conf.IFNAME.x": "/proc/sys/net/ipv4/conf/a.b/x",
		"net/ipv4/conf/IFNAME/x": "/proc/sys/net/ipv4/conf/a.b/x",
		"net..core./x":           "/proc/sys/net/core/x",
		"net.IFNAME.IFNAME":      "/proc/sys/net/a.b/IFNAME",
		"kernel.net.x":           "", "IFNAME.net": "", "net/../vm/x": "/proc/sys/net/vm/x", // dots are separators
	} {
		if got, ok := sysctlFile(key, "a.b"); ok != (want != "") || got != want {
			t.Errorf("%s: %s, %v", key, got, ok)
		}
	}
}

func TestTuningAllowlist(t *testing.T) {
	file := filepath.Join(t.TempDir(), "allowlist.conf")
	ask := &tuning{sysctls: []namedSysctl{{"net.ipv4.conf.IFNAME.arp_filter", "1"}, {"net.core.somaxconn", "1"}}}
	check := func(text, want string) {
		t.Helper()
		if err := os.WriteFile(file, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
		err := ask.checkAllowed(file)
		if want == "" && err != nil || want != "" && (err == nil || !strings.Contains(err.Error(), want)) {
			t.Errorf("%q: %v, want %q", text, err, want)
		}
	}
	if err := ask.checkAllowed(file); err != nil {
		t.Error("no list:", err)
	}
	check("", "net.ipv4.conf.IFNAME.arp_filter is not allowed")
	check("^net.ipv4.conf.IFNAME.[a-z_]*$\n", "net.core.somaxconn is not allowed")
	check("  ^net.ipv4.conf.IFNAME.[a-z_]*$\n\nsomax", "")
	check("somax\n(?i)net\n", "line 2")
	if err := (&tuning{}).checkAllowed(file); err != nil {
		t.Error("nothing asked:", err)
	}
}

// What's saved is read back whole, also where an int has 32 bits: a namespace's number is beyond those.
func TestSavedIsReadBack(t *testing.T) {
	s := saved{
		network: "net", containerID: "c1", boot: "a boot", trueBoot: true, netns: 4026531840, hostEnd: 1<<31 - 2,
		link: rtnl.Link{MAC: net.HardwareAddr{2, 0, 0, 0, 0, 1}, MTU: 1400, Promisc: rtnl.Off, AllMulticast: rtnl.On, TxQueueLen: rtnl.NoTxQueue},
	}
	if got := decodeSaved(s.encode()); !reflect.DeepEqual(got, s) {
		t.Errorf("%+v\nis read back as %+v", s, got)
	}
}
