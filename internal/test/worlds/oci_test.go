// SPDX-License-Identifier: Apache-2.0

package worlds_test

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/swiftcni/swiftcni/internal/test/box"
)

// bundleNetwork is one plugin, for those who call only one.
const bundleNetwork = `{
  "cniVersion": "1.1.0", "name": "bundles", "type": "bridge", "bridge": "oci0",
  "isDefaultGateway": true, "ipMasq": true, "hairpinMode": true,
  "ipam": { "type": "host-local", "ranges": [ [ { "subnet": "10.86.0.0/24" } ], [ { "subnet": "fd00:86::/64" } ] ] }
}`

// published adds to it, within the one plugin, what publishes the container's port 80 as the host's
// 8080.
var published = strings.TrimSuffix(bundleNetwork, "}") + `,
  "runtimeConfig": { "portMappings": [ { "hostPort": 8080, "containerPort": 80, "protocol": "tcp" } ] },
  "chain": [ { "type": "portmap", "capabilities": { "portMappings": true } }, { "type": "firewall" } ]
}`

// An oci is a host with a runtime that knows nothing of networks, and a container's bundle.
type oci struct {
	*host
	runtime, bundle string
}

func newOCI(t *testing.T, runtime string) *oci {
	t.Helper()
	o := &oci{host: newHost(t), runtime: runtime}
	o.write("/etc/cni/net.d/bundles.conf", published)
	o.bundle = filepath.Join(o.scratch, "bundle")
	rootfs(t, filepath.Join(o.bundle, "rootfs"))
	return o
}

// configure writes the container's config.json: the runtime's own sample, but with a web server as
// its process.
func (o *oci) configure(hooks any) {
	o.t.Helper()
	o.do("sh", "-c", `cd "$0" && rm -f config.json && "$1" spec`, o.bundle, o.runtime)
	path := filepath.Join(o.bundle, "config.json")
	var config map[string]any
	text, err := os.ReadFile(path)
	if err == nil {
		err = json.Unmarshal(text, &config)
	}
	if err != nil {
		o.t.Fatal(err)
	}
	process := config["process"].(map[string]any)
	process["terminal"], process["args"] = false, []string{"httpd", "-f", "-p", "80", "-h", "/www"}
	for name, list := range process["capabilities"].(map[string]any) {
		process["capabilities"].(map[string]any)[name] = append(list.([]any), "CAP_NET_RAW")
	}
	config["hooks"] = hooks
	if text, err = json.Marshal(config); err != nil {
		o.t.Fatal(err)
	}
	if err := os.WriteFile(path, text, 0o644); err != nil {
		o.t.Fatal(err)
	}
}

// id is the container's, and its cgroups'.
func (o *oci) id() string { return fmt.Sprintf("swiftcni-worlds-%s-%d", o.runtime, os.Getpid()) }

// run starts the container.
func (o *oci) run() error {
	_, err := o.Run("sh", "-c", detached, o.scratch+"/stderr", o.runtime, "run", "-d", "-b", o.bundle, o.id())
	return err
}

// wantService tries what the network's configuration promises.
func (o *oci) wantService() {
	o.t.Helper()
	o.wantAttached("running", 1, "10.86.0.2", "fd00:86::2")
	o.wantPage(theHost, "10.86.0.2", "80")
	o.wantPage(theHost, "fd00:86::2", "80")
	for _, address := range []string{box.RouterIPv4, box.RouterIPv6} {
		eventually(o.t, "the container to reach "+address, func() bool {
			_, err := o.Run(o.runtime, "exec", o.id(), "ping", "-c1", "-W10", address)
			return err == nil
		})
	}
}

// A hook in config.json is all that it takes.
func TestOCIHook(t *testing.T) {
	for _, runtime := range []string{"runc", "crun"} {
		t.Run(runtime, func(t *testing.T) {
			o := newOCI(t, runtime)
			hook := []any{map[string]any{"path": swiftctl, "args": []string{"swiftctl", "hook", "/etc/cni/net.d/bundles.conf"}, "timeout": int(hang.Seconds())}}
			o.configure(map[string]any{"createRuntime": hook, "poststop": hook})
			if err := o.run(); err != nil {
				t.Fatal(err)
			}
			o.wantService()
			o.wantPage(theOutside, box.BoxIPv4, "8080")
			o.do(runtime, "delete", "-f", o.id())
			o.wantNothing("deleted")
			o.wantNoPage(theOutside, box.BoxIPv4, "8080")

			// A container that can't be attached isn't started.
			o.write("/etc/cni/net.d/bundles.conf", strings.Replace(published, "10.86.0.0/24", "10.86.0.0/31", 1))
			if err := o.run(); err == nil {
				t.Error("a container runs without its network")
			}
			o.wantNothing("refused")
		})
	}
}

// A script needs little for CNI: five variables, and the configuration on standard input.
func TestOCIScript(t *testing.T) {
	for _, runtime := range []string{"runc", "crun"} {
		t.Run(runtime, func(t *testing.T) {
			o := newOCI(t, runtime)
			o.configure(nil)
			if err := o.run(); err != nil {
				t.Fatal(err)
			}
			const script = `pid=$("$0" state "$1" | jq .pid)
export CNI_CONTAINERID=$1 CNI_NETNS=/proc/$pid/ns/net CNI_IFNAME=eth0 CNI_PATH=/opt/cni/bin CNI_COMMAND=$2
exec /opt/cni/bin/bridge </etc/cni/net.d/bundles.conf`
			o.do("sh", "-c", script, runtime, o.id(), "ADD")
			o.wantService()
			o.wantPage(theOutside, box.BoxIPv4, "8080")
			o.wantPage(theOutside, box.BoxIPv6, "8080")
			o.do("sh", "-c", script, runtime, o.id(), "DEL")
			o.wantNothing("detached")
			o.wantNoPage(theOutside, box.BoxIPv4, "8080")
			o.do(runtime, "delete", "-f", o.id())
		})
	}
}
