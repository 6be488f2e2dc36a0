// SPDX-License-Identifier: Apache-2.0

package main

import (
	"encoding/json"
	"fmt"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/swiftcni/swiftcni/internal/test/semver"
)

// versionLike is what hashicorp/go-version takes for a version (v1.9.0, NewSemver), and more.
var versionLike = regexp.MustCompile(`^v?[0-9]+(\.|$)`)

// Nomad executes whatever is in cni_path without arguments, and takes the first word of its output that's
// a version. bridge needs 1.3.0 to be checked after a reboot. (Nomad v2.0.5,
// client/fingerprint/plugins_cni.go, detectOnePlugin; client/allocrunner/networking_cni.go,
// supportsCNICheck)
func TestNomadFindsVersions(t *testing.T) {
	files, err := os.ReadDir(oursDir())
	if err != nil || len(files) < 10 {
		t.Fatal(err, files)
	}
	for _, f := range files {
		out, err := exec.Command(filepath.Join(oursDir(), f.Name())).CombinedOutput()
		words := strings.Fields(string(out))
		at := slices.IndexFunc(words, versionLike.MatchString)
		if err != nil || at < 0 || !semver.AtLeast(words[at], 1, 3, 0) {
			t.Errorf("%s: %v: %s", f.Name(), err, out)
		}
	}
}

// nerdctl reads what is behind "CNI firewall plugin " in a line of standard error. It wants 1.7.1 for
// networks that don't reach each other, or it warns at each network and lets them. (nerdctl v2.3.5,
// pkg/netutil/netutil_unix.go, guessFirewallPluginVersion)
func TestNerdctlFindsFirewall(t *testing.T) {
	cmd := exec.Command(filepath.Join(oursDir(), "firewall"))
	cmd.Env = []string{}
	var stderr strings.Builder
	cmd.Stderr = &stderr
	if err := cmd.Run(); err != nil {
		t.Fatal(err)
	}
	for line := range strings.SplitSeq(stderr.String(), "\n") {
		if version, ok := strings.CutPrefix(line, "CNI firewall plugin "); ok {
			if !semver.AtLeast(version, 1, 7, 1) {
				t.Errorf("nerdctl parses %q", version)
			}
			return
		}
	}
	t.Errorf("no line for nerdctl: %q", stderr.String())
}

// An attached is what go-cni makes of a list's last result, by the names of links.
type attached map[string]*struct {
	sandbox string
	addrs   []netip.Addr
}

// goCNI reads a result as containerd/go-cni v1.1.13 does (result.go, createResult, and
// validateInterfaceConfig in helper.go), for containerd, nerdctl and Nomad.
func goCNI(result []byte) (attached, error) {
	var r struct {
		Interfaces []struct{ Name, Sandbox string }
		IPs        []struct {
			Interface *int
			Address   netip.Prefix
		}
	}
	if err := json.Unmarshal(result, &r); err != nil {
		return nil, err
	}
	list := attached{}
	for _, l := range r.Interfaces {
		list[l.Name] = &struct {
			sandbox string
			addrs   []netip.Addr
		}{sandbox: l.Sandbox}
	}
	for _, ip := range r.IPs {
		if ip.Interface == nil || *ip.Interface < 0 || *ip.Interface >= len(r.Interfaces) {
			return nil, fmt.Errorf("%v is of link %v", ip.Address, ip.Interface)
		}
		l := list[r.Interfaces[*ip.Interface].Name]
		l.addrs = append(l.addrs, ip.Address.Addr())
	}
	return list, nil
}

// Nomad's allocation gets the addresses of the first link by name that has a sandbox and one. Its list is
// loopback, bridge, firewall and portmap. (Nomad v2.0.5, client/allocrunner/networking_cni.go,
// cniToAllocNet; networking_bridge_linux.go, buildNomadBridgeNetConfig)
func TestNomadReadsResults(t *testing.T) {
	w := newWorld(t, t.TempDir())
	if err := w.netns("c1"); err != nil {
		t.Fatal(err)
	}
	args := "IgnoreUnknown=true;NOMAD_REGION=global;NOMAD_NAMESPACE=default;NOMAD_JOB_ID=web;NOMAD_GROUP_NAME=web;NOMAD_ALLOC_ID=6b235529-8111-4bbe-520b-d639b1d2a94e"
	list := []string{
		`{"cniVersion":"1.0.0","name":"nomad","type":"loopback"}`,
		`{"cniVersion":"1.0.0","name":"nomad","type":"bridge","bridge":"nomad","ipMasq":true,"isGateway":true,"forceAddress":true,"hairpinMode":false,
			"ipam":{"type":"host-local","ranges":[[{"subnet":"172.26.64.0/20"}],[{"subnet":"fd00:a110:c8::/120"}]],"routes":[{"dst":"0.0.0.0/0"},{"dst":"::/0"}],"dataDir":"/run/cni/nomad"}}`,
		`{"cniVersion":"1.0.0","name":"nomad","type":"firewall","backend":"iptables","iptablesAdminChainName":"NOMAD-ADMIN"}`,
		`{"cniVersion":"1.0.0","name":"nomad","type":"portmap","snat":true,"runtimeConfig":{"portMappings":[{"hostPort":22000,"containerPort":80,"protocol":"tcp","hostIP":"127.0.0.1"},
			{"hostPort":22000,"containerPort":80,"protocol":"udp","hostIP":"127.0.0.1"}]}}`,
	}
	each := func(verb string, confs []string, prev []byte) (last []byte) {
		for _, conf := range confs {
			text := []byte(conf)
			if prev != nil {
				var err error
				if text, err = withKey(text, "prevResult", prev); err != nil {
					t.Fatal(err)
				}
			}
			a, err := w.run(call{verb: verb, container: "c1", ifName: "eth0", conf: text, bare: true, env: map[string]string{"CNI_ARGS": args}})
			if err != nil || a.status != 0 {
				t.Fatalf("%s %s: %v %s", verb, conf, err, a.stdout)
			}
			if verb == "ADD" {
				prev = a.stdout
			}
		}
		return prev
	}
	result := each("ADD", list, nil)
	links, err := goCNI(result)
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for name, l := range links {
		if l.sandbox != "" && len(l.addrs) > 0 {
			names = append(names, name)
		}
	}
	slices.Sort(names)
	if !slices.Contains(names, "eth0") {
		t.Fatalf("Nomad finds %q in %s", names, result)
	}
	if got := fmt.Sprintf("%s %v", names[0], links[names[0]].addrs); got != "eth0 [172.26.64.2 fd00:a110:c8::2]" {
		t.Errorf("Nomad reads %s from %s", got, result)
	}
	each("CHECK", list, result) // after a restart of its agent, or of the host
	backward := slices.Clone(list)
	slices.Reverse(backward)
	each("DEL", backward, result)
	w.stores = append(w.stores, "/run/cni/nomad")
	w.finish()
}
