// SPDX-License-Identifier: Apache-2.0

package cni_test

import (
	"os"
	"regexp"
	"strings"
	"testing"

	"github.com/swiftcni/swiftcni/cni"
	"github.com/swiftcni/swiftcni/internal/test/nstest"
)

// What a runtime adds for a container, and leases in the test's own directory.
var asARuntime = strings.NewReplacer(
	`"capabilities": { "portMappings": true }`, `"runtimeConfig": { "portMappings": [ { "hostPort": 8080, "containerPort": 80, "protocol": "tcp" } ] }`,
	`"type": "host-local"`, `"type": "host-local", "dataDir": "/run/documented"`)

// TestDocumentedConfigurations: each plugin has a complete configuration in docs/keys.md, and each of them attaches.
func TestDocumentedConfigurations(t *testing.T) {
	page, err := os.ReadFile("../docs/keys.md")
	if err != nil {
		t.Fatal(err)
	}
	configurations := map[string]string{}
	for section := range strings.SplitSeq(string(page), "\n## ") {
		title, _, _ := strings.Cut(section, "\n")
		name, _, _ := strings.Cut(title, ",")
		if m := regexp.MustCompile("(?s)```json\n(.*?)```").FindStringSubmatch(section); m != nil {
			configurations[name] = m[1]
		}
	}
	for _, name := range []string{"bridge", "ptp", "host-local", "static", "loopback", "portmap", "firewall", "tuning", "bandwidth", "sbr", "host-device", "tap", "macvlan"} {
		t.Run(name, func(t *testing.T) {
			text := configurations[name]
			if !strings.Contains(text, `"type": "`+name+`"`) {
				t.Fatalf("docs/keys.md has no configuration of %s", name)
			}
			attachDocumented(t, name, asARuntime.Replace(text))
		})
	}
}

func attachDocumented(t *testing.T, name, text string) {
	t.Helper()
	n, err := cni.Parse([]byte(text))
	if err != nil {
		t.Fatal(err)
	}
	if name == "macvlan" {
		nstest.Run(t, "", "ip", "link", "add", "eth0", "type", "veth", "peer", "name", "far0")
		defer nstest.Run(t, "", "ip", "link", "del", "eth0")
	}
	a := cni.Attachment{ContainerID: "documented", IfName: "eth0", NetNS: nstest.New(t, name)}
	switch name {
	case "loopback":
		a.IfName = "lo"
	case "host-device":
		nstest.Run(t, "", "ip", "link", "add", "eth1", "type", "veth", "peer", "name", "far1")
		defer nstest.Run(t, "", "ip", "link", "del", "far1")
	}
	res, err := cni.Attach(t.Context(), n, a)
	if err != nil {
		t.Fatal(err)
	}
	if err := cni.Check(t.Context(), n, a, res); err != nil {
		t.Error("check:", err)
	}
	if err := cni.Detach(t.Context(), n, a); err != nil {
		t.Error("detach:", err)
	}
}
