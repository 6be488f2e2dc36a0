// SPDX-License-Identifier: Apache-2.0

package cni

import (
	"bytes"
	"fmt"
	"net/netip"
	"strings"
	"testing"

	"github.com/swiftcni/swiftcni/internal/test/nstest"
)

func staticConf(version, keys string) string {
	return fmt.Sprintf(`{"cniVersion":%q,"name":"net","type":"static","ipam":{"type":"static"%s}`, version, keys)
}

// callPlugin is one call of the plugin program, without a process.
func callPlugin(name, verb, conf string, a Attachment) (status int, out string) {
	env := map[string]string{"CNI_COMMAND": verb, "CNI_CONTAINERID": a.ContainerID, "CNI_IFNAME": a.IfName, "CNI_NETNS": a.NetNS,
		"CNI_ARGS": a.Args, "CNI_PATH": "/nowhere"}
	var stdout, stderr bytes.Buffer
	status = Main(name, func(k string) string { return env[k] }, strings.NewReader(conf), &stdout, &stderr)
	return status, stdout.String() + stderr.String()
}

// withPrev puts a result into a configuration as a runtime does.
func withPrev(conf, result string) string {
	return strings.TrimSuffix(strings.TrimSpace(conf), "}") + `,"prevResult":` + result + "}"
}

func TestStaticVerbs(t *testing.T) {
	a := Attachment{ContainerID: "c1", IfName: "eth0", NetNS: "/run/netns/nobody"}
	conf := staticConf("1.1.0", `,"addresses":[{"address":"10.1.2.3/24","gateway":"10.1.2.1"}],"routes":[{"dst":"0.0.0.0/0","gw":"10.1.2.1"},{"dst":"0.0.0.0/0","gw":"10.1.2.9"}],"dns":{"nameservers":["1.1.1.1"]}`) + `}`
	status, out := callPlugin("static", "ADD", conf, a)
	if status != 0 || strings.Count(out, `"gw"`) != 2 || !strings.Contains(out, "1.1.1.1") {
		t.Fatal(status, out)
	}
	for _, verb := range []string{"DEL", "GC", "STATUS"} {
		if status, out := callPlugin("static", verb, conf, a); status != 0 || out != "" {
			t.Error(verb, status, out)
		}
	}
	if status, out := callPlugin("static", "CHECK", withPrev(conf, out), a); status != 0 {
		t.Error("CHECK", out)
	}
	other := strings.ReplaceAll(out, `"gateway": "10.1.2.1"`, `"gateway": "10.1.2.7"`)
	if _, out := callPlugin("static", "CHECK", withPrev(conf, other), a); !strings.Contains(out, "static: Failed to match addr 10.1.2.3 on interface eth0") {
		t.Error("CHECK of another gateway:", out)
	}
	if _, out := callPlugin("static", "CHECK", conf, a); !strings.Contains(out, "Required prevResult missing") {
		t.Error("CHECK without prevResult:", out)
	}
	if status, out := callPlugin("static", "DEL", staticConf("1.1.0", `,"addresses":[{"address":7}]`)+`}`, a); status != 0 {
		t.Error("DEL of what turned invalid:", out)
	}
}

// Who fills the reference's type and prints that as a configuration prints "Address" and "Version"
// beside "address".
func TestStaticAddressAsTheReferencePrintsIt(t *testing.T) {
	a := Attachment{ContainerID: "c1", IfName: "eth0", NetNS: "/run/netns/nobody"}
	for _, printed := range []string{
		`{"address":"10.1.2.3/24","Address":{"IP":"10.1.2.3","Mask":"////AA=="},"Version":""}`,
		`{"Address":{"IP":"10.1.2.3","Mask":"////AA=="},"Version":"4","address":"10.1.2.3/24"}`,
	} {
		if status, out := callPlugin("static", "ADD", staticConf("1.1.0", `,"addresses":[`+printed+`]`)+"}", a); status != 0 || !strings.Contains(out, `"10.1.2.3/24"`) {
			t.Error(printed, out)
		}
	}
	alone := staticConf("1.1.0", `,"addresses":[{"Address":{"IP":"10.1.2.3","Mask":"////AA=="}}]`) + "}"
	if status, out := callPlugin("static", "ADD", alone, a); status == 0 || !strings.Contains(out, "got: ''") {
		t.Error(alone, out)
	}
}

// A bridge gives the addresses of static without running a program.
func TestBridgeWithStaticAddresses(t *testing.T) {
	n := network(t, `"isDefaultGateway": true, "ipMasq": true, "ipam": { "type": "static",
		"addresses": [ { "address": "10.9.0.7/24" }, { "address": "fd00:9::7/64", "gateway": "fd00:9::1" } ] }`)
	a := attachment(t, "c1")
	res, err := Attach(t.Context(), n, a)
	if err != nil {
		t.Fatal(err)
	}
	if res.IPs[0].Gateway != netip.MustParseAddr("10.9.0.1") || len(res.IPs) != 2 {
		t.Error(res.IPs)
	}
	for _, to := range []string{"10.9.0.1", "fd00:9::1"} {
		nstest.Run(t, a.NetNS, "ping", "-c1", "-W60", to)
	}
	if err := Check(t.Context(), n, a, res); err != nil {
		t.Error("check:", err)
	}
	if err := Status(t.Context(), n); err != nil {
		t.Error("status:", err)
	}
	if err := Detach(t.Context(), n, a); err != nil {
		t.Error("detach:", err)
	}
	if l := left(t, n, a); l != nil {
		t.Error("left behind:", l)
	}
	none := network(t, `"ipam": { "type": "static" }`)
	if _, err := Attach(t.Context(), none, a); err == nil || !strings.Contains(err.Error(), "IPAM plugin returned missing IP config") {
		t.Error("without addresses:", err)
	}
}

// Below 0.3.0 a bridge fills in the gateways of its IPAM plugin's routes; the plugin itself, called by its own name, doesn't.
func TestLegacyRoutesOfIPAM(t *testing.T) {
	const routes = `"routes":[{"dst":"0.0.0.0/0"},{"dst":"192.0.2.0/24","gw":"10.1.2.9"}]`
	confs := map[string]string{
		"static":     `"type":"static","addresses":[{"address":"10.1.2.2/24","gateway":"10.1.2.1"}],`,
		"host-local": `"type":"host-local","subnet":"10.1.2.0/24","dataDir":"` + t.TempDir() + `",`,
	}
	for name, keys := range confs {
		for _, version := range []string{"0.1.0", "0.2.0"} {
			env := map[string]string{"CNI_COMMAND": "ADD", "CNI_CONTAINERID": "c" + version, "CNI_NETNS": "/x", "CNI_IFNAME": "eth0", "CNI_PATH": "/x"}
			var out, stderr strings.Builder
			conf := `{"cniVersion":"` + version + `","name":"net","type":"bridge","ipam":{` + keys + routes + `}}`
			if Main(name, func(key string) string { return env[key] }, strings.NewReader(conf), &out, &stderr) != 0 {
				t.Fatal(out.String())
			}
			if text := strings.Join(strings.Fields(out.String()), ""); !strings.Contains(text, `"routes":[{"dst":"0.0.0.0/0"},{"dst":"192.0.2.0/24","gw":"10.1.2.9"}]`) {
				t.Errorf("%s at %s: %s", name, version, text)
			}
		}
	}
}
