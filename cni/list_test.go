// SPDX-License-Identifier: Apache-2.0

package cni

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/swiftcni/swiftcni/internal/facts"
	"github.com/swiftcni/swiftcni/internal/fault"
	"github.com/swiftcni/swiftcni/internal/test/nstest"
	"github.com/swiftcni/swiftcni/internal/tuning"
)

// listed is a list of bridge, portmap with a port, and firewall; more follows them.
func listed(t *testing.T, keys, more string) *Network {
	t.Helper()
	t.Cleanup(func() { nstest.Run(t, "", "nft", "flush", "ruleset") })
	plain := network(t, `"isGateway": true`) // whose bridge goes with the test
	n, err := Parse(fmt.Appendf(nil, `{"cniVersion":"0.4.0","cniVersions":["1.0.0","0.4.0","7.0.0"],"name":%q,%s
		"runtimeConfig":{"portMappings":[{"hostPort":8080,"containerPort":80,"protocol":"tcp"}]},
		"plugins":[{"type":"bridge","name":"overruled","cniVersion":7,"bridge":%q,"isGateway":true,
			"ipam":{"type":"host-local","subnet":"10.9.0.0/24","dataDir":%q}},
			{"type":"portmap"},{"type":"firewall","backend":"nftables"}%s]}`, plain.conf.Name, keys, plain.conf.Bridge.Name, t.TempDir(), more))
	if err != nil {
		t.Fatal(err)
	}
	if n.conf.Name != plain.conf.Name || n.conf.CNIVersion != "1.0.0" {
		t.Errorf("name %q, version %s", n.conf.Name, n.conf.CNIVersion)
	}
	return n
}

// A list is attached, checked, collected and detached as one.
func TestListIsOneNetwork(t *testing.T) {
	n := listed(t, "", "")
	if got, want := n.Plugins(), []string{"bridge", "portmap", "firewall"}; !slices.Equal(got, want) {
		t.Errorf("plugins %v, want %v", got, want)
	}
	a := attachment(t, "c1")
	for _, end := range []string{"detach", "GC"} {
		res, err := Attach(t.Context(), n, a)
		if err != nil {
			t.Fatal(err)
		}
		if ports, openings := inRuleset(t, n.conf.Name); res.CNIVersion != "1.0.0" || len(res.Interfaces) != 3 || ports != 1 || openings != 1 {
			t.Errorf("%d ports, %d openings, %+v", ports, openings, res)
		}
		if err := Check(t.Context(), n, a, res); err != nil {
			t.Error("check:", err)
		}
		if err := Reclaim(t.Context(), n); err != nil || len(left(t, n, a)) == 0 {
			t.Errorf("reclaim: %v, left %v", err, left(t, n, a))
		}
		nstest.Run(t, "", "nft", "flush", "ruleset")
		if err := Check(t.Context(), n, a, res); err == nil || !strings.Contains(err.Error(), "plugins[1]: ") {
			t.Error("check of a list without rules:", err)
		}
		if end == "GC" {
			err = GC(t.Context(), n, []Attachment{})
		} else {
			err = Detach(t.Context(), n, a)
		}
		if l := left(t, n, a); err != nil || l != nil {
			t.Errorf("%s: %v, left %v", end, err, l)
		}
	}
}

// A plugin that fails takes those before it back.
func TestListUndoes(t *testing.T) {
	n := listed(t, "", `,{"type":"sbr","table":4711},{"type":"bandwidth","ingressRate":8000,"ingressBurst":8000},{"type":"loopback"},{"type":"ptp",
		"ipam":{"type":"host-local","subnet":"10.9.1.0/24","dataDir":"/proc/nowhere"}}`)
	a := attachment(t, "c1")
	_, err := Attach(t.Context(), n, a)
	if err == nil || !strings.HasPrefix(err.Error(), "plugins[6]: ") {
		t.Errorf("attach: %v", err)
	}
	ports, openings := inRuleset(t, n.conf.Name)
	if l := left(t, n, a); l != nil || ports+openings != 0 {
		t.Errorf("left %v, %d ports, %d openings", l, ports, openings)
	}
}

// Nothing is touched for a list with something wrong in it, which can be detached from.
func TestListFindsWhatIsWrong(t *testing.T) {
	for plugins, key := range map[string]string{
		``:                                     "plugins",
		`7`:                                    "plugins[0]",
		`{"bridge":"br0"}`:                     "plugins[0].type",
		`{"type":"bridge"},{"type":"flannel"}`: "plugins[1].type",
		`{"type":"bridge"},{"type":"portmap","backend":7}`:                  "plugins[1].backend",
		`{"type":"bridge","chain":[{"type":"bandwidth","ingressRate":-1}]}`: "plugins[0].chain[0].ingressRate",
	} {
		n, err := Parse([]byte(`{"cniVersion":"1.0.0","name":"n","plugins":[` + plugins + `]}`))
		if err == nil || fault.Of(err).Key != key {
			t.Errorf("%s: %v, want key %q", plugins, err, key)
		}
		if n == nil {
			continue
		}
		if _, got := Attach(t.Context(), n, attachment(t, "c1")); got != err {
			t.Errorf("%s: attach: %v", plugins, got)
		}
	}
	for keys, key := range map[string]string{`"name":"a/b"`: "name", `"name":"n","cniVersion":"9.9.9"`: "cniVersion"} {
		if _, err := Parse([]byte(`{` + keys + `,"plugins":[{"type":"bridge"}]}`)); err == nil || fault.Of(err).Key != key {
			t.Errorf("%s: %v", keys, err)
		}
	}
}

// The list's keys disableCheck and disableGC are heeded.
func TestListDisables(t *testing.T) {
	n := listed(t, `"disableCheck":true,"disableGC":true,`, "")
	a := attachment(t, "c1")
	if _, err := Attach(t.Context(), n, a); err != nil {
		t.Fatal(err)
	}
	if err := Check(t.Context(), n, a, nil); err != nil {
		t.Error("check:", err)
	}
	if err := GC(t.Context(), n, []Attachment{}); err != nil || len(left(t, n, a)) == 0 {
		t.Error("collected", err)
	}
	if err := Detach(t.Context(), n, a); err != nil {
		t.Error(err)
	}
}

// An IPAM plugin of its own gets a configuration with the list's name and version.
func TestListDelegates(t *testing.T) {
	dir := t.TempDir()
	script := "#!/bin/sh\ncat >" + dir + `/in; echo '{"ips": [{"address": "10.9.0.11/24"}]}'`
	if err := os.WriteFile(filepath.Join(dir, "scripted"), []byte(script), 0o755); err != nil {
		t.Fatal(err)
	}
	plain := network(t, `"isGateway": false`)
	n, err := Parse([]byte(`{"cniVersion":"1.0.0","name":"` + plain.conf.Name + `","args":{"cni":{"x":1}},"plugins":[{"name":7,"type":"bridge","args":8,
		"bridge":"` + plain.conf.Bridge.Name + `","ipam":{"type":"scripted","Odd":[1,{}]}}]}`))
	if err != nil {
		t.Fatal(err)
	}
	a, ctx := attachment(t, "c1"), WithPath(t.Context(), dir)
	if _, err := Attach(ctx, n, a); err != nil {
		t.Fatal(err)
	}
	text, err := os.ReadFile(dir + "/in")
	got := strings.Join(strings.Fields(string(text)), "")
	want := `{"cniVersion":"1.0.0","name":"` + plain.conf.Name + `","type":"bridge","bridge":"` + plain.conf.Bridge.Name + `","ipam":{"type":"scripted","Odd":[1,{}]},"args":{"cni":{"x":1}}}`
	if err != nil || got != want {
		t.Errorf("got %s, %v\nwant %s", got, err, want)
	}
	if err := Detach(ctx, n, a); err != nil {
		t.Error(err)
	}
}

// Facts tells of each plugin what follows from its keys, defaults and all that its list or chain says.
func TestFacts(t *testing.T) {
	n, err := Parse([]byte(`{"cniVersion":"1.0.0","name":"n","plugins":[{"type":"bridge","isDefaultGateway":true,"ipMasq":true,"capabilities":{"ips":true,"mac":false},
		"ipam":{"type":"host-local","subnet":"10.9.0.0/24","dataDir":"/x"},"chain":[{"type":"firewall","firewalldZone":"home"}]},
		{"type":"tuning"},{"type":"flannel","capabilities":{"portMappings":true}},7]}`))
	if err == nil || n == nil {
		t.Fatal(n, err)
	}
	var got []string
	for _, f := range facts.Of(n) {
		got = append(got, fmt.Sprintln(f.Name, f.InChain, f.Capabilities, f.Bridge, f.Gateway, f.Gateways, f.Masquerade, f.LeaseDir, f.Zone, f.SavedDir))
		if !strings.Contains(string(f.Config), `"cniVersion": "1.0.0"`) {
			t.Errorf("%s gets %s", f.Name, f.Config)
		}
	}
	want := []string{
		fmt.Sprintln("bridge", false, map[string]bool{"ips": true, "mac": false}, "cni0", true, []string{"10.9.0.1/24"}, true, "/x", "", ""),
		fmt.Sprintln("firewall", true, map[string]bool{"ips": true, "mac": false}, "", false, []string{}, false, "", "home", ""),
		fmt.Sprintln("tuning", false, map[string]bool{}, "", false, []string{}, false, "", "", tuning.DefaultDir),
		fmt.Sprintln("flannel", false, map[string]bool{"portMappings": true}, "", false, []string{}, false, "", "", ""),
	}
	if !slices.Equal(got, want) {
		t.Errorf("got\n%s\nwant\n%s", strings.Join(got, ""), strings.Join(want, ""))
	}
}
