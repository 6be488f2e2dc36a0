// SPDX-License-Identifier: Apache-2.0

package main

import (
	"encoding/json"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"

	"github.com/swiftcni/swiftcni/internal/tool/build"
)

// The plugins that are built.
const (
	ours      = "swiftcni"
	reference = "reference"
)

// referenceVersion is the release of github.com/containernetworking/plugins with which swiftcni is
// compared.
const referenceVersion = build.ReferenceVersion

// builder builds plugins into the cache directory.
type builder struct {
	root, cache string
	progress    io.Writer
}

// standardConfig is a bridge with masquerade and host-local. Its range is so small that a lost
// address shows.
func standardConfig(leases string) string {
	config := map[string]any{
		"cniVersion": "1.1.0", "name": "crash", "type": "bridge", "bridge": "cnibr0",
		"isGateway": true, "ipMasq": true, "ipMasqBackend": "nftables",
		"ipam": map[string]any{
			"type": "host-local", "subnet": "172.19.1.0/28", "rangeStart": "172.19.1.2", "rangeEnd": "172.19.1.4", "dataDir": leases,
			"routes": []map[string]string{{"dst": "0.0.0.0/0"}},
		},
	}
	encoded, err := json.Marshal(config)
	if err != nil {
		panic(err) // strings and booleans only
	}
	return string(encoded)
}

func standard(name, dir string) Plugin {
	leases := "/var/lib/cni/networks"
	return Plugin{Name: name, Member: Member{Path: filepath.Join(dir, "bridge"), Config: standardConfig(leases)}, Leases: leases, Bridge: "cnibr0"}
}

// ours builds swiftcni under the names of its plugins, or uses an existing binary.
func (b builder) ours(binary string) (Plugin, error) {
	dir := filepath.Join(b.cache, "crash", ours)
	p := standard(ours, dir)
	p.Gates = true
	if err := build.Swiftcni(b.progress, b.root, dir, binary); err != nil {
		return p, err
	}
	return p, os.WriteFile(filepath.Join(dir, scriptName), []byte(script), 0o755)
}

func (b builder) reference() (Plugin, error) {
	dir, err := build.Reference(b.progress, b.root)
	return standard(reference, dir), err
}

// parsePlugin reads NAME=DIR:CONF, where CONF is the file of a single plugin's configuration. Its
// "type" is the name of the plugin in DIR.
func parsePlugin(s string) (Plugin, error) {
	name, rest, ok := strings.Cut(s, "=")
	dir, conf, ok2 := strings.Cut(rest, ":")
	if !ok || !ok2 || name == "" || dir == "" {
		return Plugin{}, fmt.Errorf("%q isn't NAME=DIR:CONF", s)
	}
	config, err := os.ReadFile(conf)
	if err != nil {
		return Plugin{}, err
	}
	var parsed struct {
		Type, Bridge string
		IPAM         struct{ Type, DataDir string }
	}
	if err := json.Unmarshal(config, &parsed); err != nil {
		return Plugin{}, fmt.Errorf("%s: %w", conf, err)
	}
	if dir, err = filepath.Abs(dir); err != nil {
		return Plugin{}, err
	}
	p := Plugin{Name: name, Member: Member{Path: filepath.Join(dir, parsed.Type), Config: string(config)}, Bridge: parsed.Bridge}
	if _, err := os.Stat(p.Path); err != nil || parsed.Type == "" {
		return Plugin{}, fmt.Errorf("%s: no plugin of type %q in %s", conf, parsed.Type, dir)
	}
	if parsed.IPAM.Type == "host-local" {
		p.Leases = "/var/lib/cni/networks"
		if d := parsed.IPAM.DataDir; d != "" && !strings.HasPrefix(d, "/var/lib/cni") && !strings.HasPrefix(d, "/run/cni") {
			return Plugin{}, fmt.Errorf("%s: dataDir %q isn't below /var/lib/cni or /run/cni, which each trial finds empty", conf, d)
		} else if d != "" {
			p.Leases = d
		}
	}
	return p, nil
}
