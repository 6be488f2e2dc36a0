// SPDX-License-Identifier: Apache-2.0

package cni

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/swiftcni/swiftcni/internal/test/nstest"
	"github.com/swiftcni/swiftcni/ipam"
)

// Attach does what the configuration's type says: ptp makes no bridge, loopback no link, and host-local gives an address alone.
func TestTypeDecides(t *testing.T) {
	dir := t.TempDir()
	links := func() string { return nstest.Run(t, "", "ip", "-o", "link") }
	before := links()
	for kind, interfaces := range map[string]int{"ptp": 2, "loopback": 1, "host-local": 0} {
		n, err := Parse([]byte(`{"cniVersion":"1.1.0","name":"typed-` + kind + `","type":"` + kind + `",
			"ipam":{"type":"host-local","subnet":"10.77.0.0/24","dataDir":"` + dir + `"}}`))
		if err != nil {
			t.Fatal(err)
		}
		a := attachment(t, "c-"+kind)
		res, err := Attach(t.Context(), n, a)
		if err != nil {
			t.Errorf("%s: %v", kind, err)
			continue
		}
		if len(res.Interfaces) != interfaces || (kind == "loopback") == (res.IPs[0].Address.Addr().String() == "10.77.0.2") {
			t.Errorf("%s: %+v", kind, res)
		}
		if bridge := nstest.Run(t, "", "ip", "-o", "link", "show", "type", "bridge"); strings.Contains(bridge, "cni0") {
			t.Errorf("%s made a bridge: %s", kind, bridge)
		}
		if err := Check(t.Context(), n, a, res); err != nil {
			t.Errorf("check of %s: %v", kind, err)
		}
		if err := Status(t.Context(), n); err != nil {
			t.Errorf("status of %s: %v", kind, err)
		}
		if err := Detach(t.Context(), n, a); err != nil {
			t.Errorf("detach of %s: %v", kind, err)
		}
		if err := GC(t.Context(), n, []Attachment{}); err != nil {
			t.Errorf("GC of %s: %v", kind, err)
		}
	}
	if after := links(); after != before {
		t.Errorf("links changed from\n%sto\n%s", before, after)
	}
}

// Every wrong input ends in Parse, which returns what Detach needs, and all other calls end with the same error.
func TestParseFindsWhatIsWrong(t *testing.T) {
	prev := `"prevResult":{"cniVersion":"1.1.0","ips":[{"address":"10.0.0.2/24"}]}`
	ranges := `"ipam":{"type":"host-local","subnet":"10.0.0.0/24"}`
	for conf, key := range map[string]string{
		`"type":"bridge","mtu":"x"`:                                                                             "mtu",
		`"type":"bridge","hairpinMode":true,"promiscMode":true`:                                                 "hairpinMode",
		`"type":"bridge","runtimeConfig":{"mac":"zz"}`:                                                          "runtimeConfig.mac",
		`"type":"bridge","ipam":{"type":"host-local"}`:                                                          "ipam",
		`"type":"bridge","chain":[{"type":"portmap","backend":7}]`:                                              "chain[0].backend",
		`"type":"bridge","chain":[{"type":"ptp"}]`:                                                              "chain[0].type",
		`"type":"bridge","cni.dev/valid-attachments":7`:                                                         "cni.dev/valid-attachments",
		`"type":"ptp","mtu":"x",` + ranges:                                                                      "mtu",
		`"type":"ptp"`:                                                                                          "ipam.type",
		`"type":"host-local","ipam":{"ranges":[[{"subnet":"10.0.0.0/33"}]]}`:                                    "ipam.ranges[0][0].subnet",
		`"type":"static","ipam":{"addresses":[{"address":"x"}]}`:                                                "ipam.addresses[0]",
		`"type":"portmap","backend":7,` + prev:                                                                  "backend",
		`"type":"portmap","runtimeConfig":{"portMappings":[{"hostPort":0,"containerPort":1,"protocol":"tcp"}]}`: "runtimeConfig.portMappings[0].hostPort",
		`"type":"firewall","ingressPolicy":"x"`:                                                                 "ingressPolicy",
		`"type":"bandwidth","ingressRate":-1`:                                                                   "ingressRate",
		`"type":"sbr","table":0`:                                                                                "table",
		`"type":"tuning","sysctl":{"kernel.x":"1"}`:                                                             "sysctl.kernel.x",
		`"type":"tuning","mtu":"x"`:                                                                             "mtu",
		`"type":"loopback","prevResult":7`:                                                                      "prevResult",
		`"type":"bridge","cniVersion":"9.9.9"`:                                                                  "cniVersion",
		`"type":"firewall","cniVersion":"0.3.1"`:                                                                "cniVersion",
		`"type":"nonsense"`:                                                                                     "type",
		`"bridge":"cni0"`:                                                                                       "type",
	} {
		if !strings.Contains(conf, "cniVersion") || strings.Contains(conf, "prevResult") {
			conf = `"cniVersion":"1.1.0",` + conf
		}
		n, err := Parse([]byte(`{"name":"n",` + conf + `}`))
		var e *Error
		if !errors.As(err, &e) || e.Key != key || n == nil {
			t.Errorf("%s: network %v, %#v, want key %q", conf, n, err, key)
			continue
		}
		a := Attachment{ContainerID: "c", IfName: "eth0", NetNS: "/nowhere"}
		_, attachErr := Attach(t.Context(), n, a)
		for verb, got := range map[string]error{"attach": attachErr, "check": Check(t.Context(), n, a, &Result{}), "status": Status(t.Context(), n),
			"GC": GC(t.Context(), n, []Attachment{}), "reclaim": Reclaim(t.Context(), n), "many": AttachAll(t.Context(), n, []Attachment{a})[0].Err} {
			if got != err {
				t.Errorf("%s: %s ends with %v, want Parse's %v", conf, verb, got, err)
			}
		}
		if got := Detach(t.Context(), n, a); (got != nil) != (key == "type") {
			t.Errorf("%s: detach: %v", conf, got)
		}
	}
	for _, text := range []string{"{", `{"type":"bridge"}`, `{"name":"a/b","type":"bridge"}`} {
		if n, err := Parse([]byte(text)); n != nil || err == nil {
			t.Errorf("%s: %v, %v", text, n, err)
		}
	}
}

// A list that was lost isn't one that's empty.
func TestGCNeedsAList(t *testing.T) {
	n := network(t, `"ipam": {"type": "host-local", "subnet": "10.9.0.0/24", "dataDir": "`+t.TempDir()+`"}`)
	a := attachment(t, "c1")
	if _, err := Attach(t.Context(), n, a); err != nil {
		t.Fatal(err)
	}
	for name, err := range map[string]error{"GC": GC(t.Context(), n, nil), "reclaim": Reclaim(t.Context(), n)} {
		if (err != nil) != (name == "GC") {
			t.Errorf("%s: %v", name, err)
		}
	}
	if len(left(t, n, a)) == 0 {
		t.Error("a live attachment is gone")
	}
	if err := GC(t.Context(), n, []Attachment{}); err != nil || left(t, n, a) != nil {
		t.Errorf("an empty list leaves %v, %v", left(t, n, a), err)
	}
}

// Errors need no errors.As: each is an *Error itself, and the cause is behind it.
func TestErrorsAreOfOneType(t *testing.T) {
	dir := t.TempDir()
	full, err := Parse([]byte(`{"cniVersion":"1.1.0","name":"full","type":"host-local","ipam":{"type":"host-local","subnet":"10.77.0.0/30","dataDir":"` + dir + `"}}`))
	if err != nil {
		t.Fatal(err)
	}
	var exhausted *ipam.ExhaustedError
	for err == nil {
		_, err = Attach(t.Context(), full, Attachment{ContainerID: strings.Repeat("c", 1+len(leases(t, dir+"/full"))), IfName: "eth0", NetNS: "/nowhere"})
	}
	if e, ok := err.(*Error); !ok || e.Code != CodeExhausted || !errors.As(err, &exhausted) {
		t.Errorf("attach: %T: %v", err, err)
	}
	saved := t.TempDir()
	if err := os.MkdirAll(saved+"/c1_eth0.json/full", 0o755); err != nil { // which can't be removed
		t.Fatal(err)
	}
	tuned, err := Parse([]byte(`{"cniVersion":"1.1.0","name":"tuned","type":"tuning","dataDir":"` + saved + `"}`))
	if err != nil {
		t.Fatal(err)
	}
	err = Detach(t.Context(), tuned, Attachment{ContainerID: "c1", IfName: "eth0"})
	if _, ok := err.(*Error); !ok || !errors.Is(err, fs.ErrExist) && !errors.Is(err, syscall.EISDIR) {
		t.Errorf("detach: %T: %v", err, err)
	}
}

// leases are the files of a network's leases.
func leases(t *testing.T, dir string) []string {
	t.Helper()
	list, err := filepath.Glob(dir + "/10.*")
	if err != nil {
		t.Fatal(err)
	}
	return list
}
