// SPDX-License-Identifier: Apache-2.0

package libcnitest

import (
	"context"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/containernetworking/cni/libcni"
	"github.com/swiftcni/swiftcni/cni/inprocess"
	"github.com/swiftcni/swiftcni/internal/test/nstest"
	"github.com/swiftcni/swiftcni/internal/tool/build"
)

// After a firewall's flush swiftctl sync puts all back that CHECK looks for: what follows from configuration and links,
// and the ports, which libcni's cache knows. A container that libcni doesn't know is named.
func TestSyncUsesLibcnisCache(t *testing.T) {
	dir := t.TempDir()
	swiftctl := filepath.Join(dir, "swiftctl")
	if err := build.Swiftctl(io.Discard, "../../..", swiftctl); err != nil {
		t.Fatal(err)
	}
	for name, text := range map[string]string{
		"list": strings.NewReplacer("NAME", "synclist", "BRIDGE", "synclist0").Replace(network),
		"chain": `{ "cniVersion": "1.1.0", "name": "syncchain", "plugins": [ { "type": "bridge", "bridge": "syncchain0", "isGateway": true, "ipMasq": true, "outboundAddr4": "192.0.2.7",
			"capabilities": { "portMappings": true }, "chain": [ { "type": "portmap" } ],
			"ipam": { "type": "host-local", "subnet": "10.9.0.0/16", "dataDir": "/run/leases" } } ] }`,
	} {
		t.Run(name, func(t *testing.T) {
			nstest.Run(t, "", "nft", "flush", "ruleset")
			conf, cache := filepath.Join(t.TempDir(), "net.conflist"), t.TempDir()
			if err := os.WriteFile(conf, []byte(text), 0o644); err != nil {
				t.Fatal(err)
			}
			client, list, ctx := libcni.NewCNIConfigWithCacheDir([]string{"/none"}, cache, inprocess.New(execute())), listOf(t, text), context.Background()
			rt := &libcni.RuntimeConf{ContainerID: "c1", NetNS: nstest.New(t, "c1"), IfName: "eth0",
				CapabilityArgs: map[string]any{"portMappings": []map[string]any{{"hostPort": 8080, "containerPort": 80, "protocol": "tcp"}}}}
			if _, err := client.AddNetworkList(ctx, list, rt); err != nil {
				t.Fatal(err)
			}
			before := nstest.Run(t, "", "nft", "list", "ruleset")
			nstest.Run(t, "", "nft", "flush", "ruleset")
			if err := client.CheckNetworkList(ctx, list, rt); err == nil {
				t.Error("CHECK finds nothing after a flush")
			}
			sync := func(cache string) (string, error) {
				out, err := exec.Command(swiftctl, "sync", "--cache-dir", cache, conf).CombinedOutput()
				return string(out), err
			}
			if out, err := sync("/none"); err == nil || !strings.Contains(out, "c1/eth0: libcni's cache in /none doesn't know it") {
				t.Errorf("without a cache: %v %s", err, out)
			}
			if out, err := sync(cache); err != nil || !strings.Contains(out, "c1/eth0: restored its ports") {
				t.Errorf("sync: %v %s", err, out)
			}
			if err := client.CheckNetworkList(ctx, list, rt); err != nil {
				t.Error("CHECK after sync: ", err)
			}
			if got := nstest.Run(t, "", "nft", "list", "ruleset"); len(got) != len(before) {
				t.Errorf("the ruleset is\n%s\nand was\n%s", got, before)
			}
			if out, err := sync(cache); err != nil || out != "" {
				t.Errorf("sync again: %v %s", err, out)
			}
			if err := client.DelNetworkList(ctx, list, rt); err != nil {
				t.Error(err)
			}
		})
	}
}
