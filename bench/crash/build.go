// SPDX-License-Identifier: Apache-2.0

package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
)

// The plugins that are built.
const (
	ours      = "swiftcni"
	reference = "reference"
)

// referenceVersion is the release of github.com/containernetworking/plugins that swiftcni stands beside.
const referenceVersion = "v1.9.1"

// builder builds plugins into the cache directory.
type builder struct {
	root, cache string
	progress    io.Writer
}

// repository returns the directory of the module that the caller stands in.
func repository() (string, error) {
	out, err := exec.Command("go", "env", "GOMOD").Output()
	if err != nil {
		return "", fmt.Errorf("go env GOMOD: %w", err)
	}
	mod := strings.TrimSpace(string(out))
	if filepath.Base(mod) != "go.mod" {
		return "", errors.New("not in swiftcni's repository")
	}
	return filepath.Dir(mod), nil
}

// standardConfig is a bridge with masquerade and host-local, on a range so small that a lost address shows.
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
	return Plugin{Name: name, Path: filepath.Join(dir, "bridge"), Config: standardConfig(leases), Leases: leases, Bridge: "cnibr0"}
}

// goFlags are the release's: a static binary without symbols.
var goFlags = []string{"-trimpath", "-ldflags", "-s -w"}

// ours builds swiftcni under the names that it's called by, or takes a binary that exists.
func (b builder) ours(binary string) (Plugin, error) {
	dir := filepath.Join(b.cache, "crash", ours)
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return Plugin{}, err
	}
	if binary == "" {
		binary = filepath.Join(dir, "swiftcni")
		args := append([]string{"build"}, goFlags...)
		if err := b.run(b.root, []string{"CGO_ENABLED=0"}, "go", append(args, "-o", binary, "./cmd/swiftcni")...); err != nil {
			return Plugin{}, err
		}
	}
	binary, err := filepath.Abs(binary)
	if err != nil {
		return Plugin{}, err
	}
	for _, name := range []string{"bridge", "host-local"} {
		link := filepath.Join(dir, name)
		if err := os.Remove(link); err != nil && !errors.Is(err, os.ErrNotExist) {
			return Plugin{}, err
		}
		if err := os.Symlink(binary, link); err != nil {
			return Plugin{}, err
		}
	}
	return standard(ours, dir), nil
}

// reference installs the reference plugins once: a release doesn't change.
func (b builder) reference() (Plugin, error) {
	dir := filepath.Join(b.cache, "bench", "reference-"+referenceVersion) // bench has it, too
	var packages []string
	for _, plugin := range []string{"main/bridge", "ipam/host-local"} {
		if _, err := os.Stat(filepath.Join(dir, filepath.Base(plugin))); err != nil {
			packages = append(packages, "github.com/containernetworking/plugins/plugins/"+plugin+"@"+referenceVersion)
		}
	}
	if len(packages) > 0 {
		args := append(append([]string{"install"}, goFlags...), packages...)
		// With a version, go install heeds no go.mod around it, but it does heed GOFLAGS.
		if err := b.run(b.cache, []string{"CGO_ENABLED=0", "GOFLAGS=-mod=mod", "GOBIN=" + dir}, "go", args...); err != nil {
			return Plugin{}, err
		}
	}
	return standard(reference, dir), nil
}

func (b builder) run(dir string, env []string, name string, args ...string) error {
	cmd := exec.Command(name, args...)
	cmd.Dir = dir
	cmd.Env = append(os.Environ(), env...)
	fmt.Fprintf(b.progress, "%s %s\n", name, strings.Join(args, " "))
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("%s %s: %w\n%s", name, args[0], err, strings.TrimSpace(string(out)))
	}
	return nil
}

// parsePlugin reads NAME=DIR:CONF, where CONF is the file of a single plugin's configuration. The plugin in
// DIR is called as its "type" says.
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
	p := Plugin{Name: name, Path: filepath.Join(dir, parsed.Type), Config: string(config), Bridge: parsed.Bridge}
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
