// SPDX-License-Identifier: Apache-2.0

package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"

	"github.com/swiftcni/swiftcni/internal/tool/build"
)

// Contestant is a program to be measured: a CNI plugin in most cases.
type Contestant struct {
	Name    string
	Version string
	// Plugin is the executable's path. Its directory is CNI_PATH.
	Plugin string
	Args   []string `json:",omitempty"`
	Env    []string `json:",omitempty"` // beyond CNI's variables, each NAME=VALUE
	// Config is the plugin's standard input.
	Config string `json:",omitempty"`
	// Calls are a verb's arguments if the program isn't a CNI plugin. In them, and in Config, {id}
	// and {netns} are the container's.
	Calls map[string][]string `json:",omitempty"`
	// Attaches is false for a program that does nothing. It runs only for ADD, and nothing is
	// verified.
	Attaches bool
	// SetUp are shell commands that prepare its host, before the first round.
	SetUp string `json:",omitempty"`
	// Needs are shell commands that this kernel may refuse, on that host. Then the contestant is left
	// out.
	Needs string `json:",omitempty"`
	// Resident is the file with the process ID of the resident that makes its calls, if one does.
	Resident string `json:",omitempty"`
	// These are verified after its first ADD and DEL, each only if it's given: the bridge that has
	// a port, the directory that has the address's lease, the command whose output has the address.
	Bridge string   `json:",omitempty"`
	Leases string   `json:",omitempty"`
	Subnet string   `json:",omitempty"` // its addresses come from it
	Rules  []string `json:",omitempty"`
}

// The contestants' names.
const (
	swiftcni          = "swiftcni"
	reference         = "reference"
	referenceIPTables = "reference-iptables"
	referenceNFTables = "reference-nftables"
	floor             = "floor"
	emptyC            = "empty-c"
	emptyGo           = "empty-go"
	// idle is our program when it prints its version: the cost of being linked as it is.
	idle = "swiftcni-version"
	// residents is our program whose calls a resident makes.
	residents = "swiftcni-resident"
	// netavark is podman's. It takes part if it's installed, or on request.
	netavark = "netavark"
)

// referenceVersion is the release of github.com/containernetworking/plugins with which swiftcni is
// compared.
const referenceVersion = build.ReferenceVersion

// bridgeConfig is the classic configuration, with leases on the box's own tmpfs, so that a disk's
// speed doesn't count.
func (b builder) bridgeConfig(leases string, masquerade bool, backend string) string {
	config := map[string]any{
		"cniVersion": "1.0.0", "name": "mynet", "type": "bridge", "bridge": "cnibr0",
		"isGateway": true, "ipMasq": masquerade,
		"ipam": map[string]any{
			"type": "host-local", "subnet": b.subnet.String(), "dataDir": leases,
			"routes": []map[string]string{{"dst": "0.0.0.0/0"}},
		},
		"dns": map[string]any{"nameservers": []string{"8.8.8.8"}},
	}
	if backend != "" {
		config["ipMasqBackend"] = backend
	}
	encoded, err := json.Marshal(config)
	if err != nil {
		panic(err) // strings and booleans only
	}
	return string(encoded)
}

// plugin is a contestant with the classic configuration.
func (b builder) plugin(name, version, dir string, masquerade bool, backend string, rules ...string) Contestant {
	leases := filepath.Join("/run", name)
	return Contestant{
		Name: name, Version: version, Plugin: filepath.Join(dir, "bridge"), Attaches: true,
		Config: b.bridgeConfig(leases, masquerade, backend), Subnet: b.subnet.String(),
		Bridge: "cnibr0", Leases: filepath.Join(leases, "mynet"), Rules: rules,
	}
}

func listRuleset() []string { return []string{"nft", "list", "ruleset"} }

// floorSetUp makes the things that floor/floor.c requires.
const floorSetUp = `set -e
mkdir -p /run/floor
ip link add name cnibr0 type bridge
ip addr add GATEWAY dev cnibr0
ip link set cnibr0 up
echo 1 >/proc/sys/net/ipv4/ip_forward
nft -f - <<'END'
table inet floor {
	map sources {
		type ipv4_addr : verdict
	}
	chain mynet {
		ip daddr != SUBNET ip daddr != 224.0.0.0/4 masquerade
	}
	chain postrouting {
		type nat hook postrouting priority srcnat
		ip saddr vmap @sources
	}
}
END`

func (b builder) floorContestant() Contestant {
	gateway := netip.PrefixFrom(b.subnet.Addr().Next(), b.subnet.Bits())
	return Contestant{
		Name: floor, Version: b.commit(), Plugin: filepath.Join(b.cache, b.floorName()), Args: []string{"/run/floor"},
		Config: b.bridgeConfig("/run/floor", true, ""), Attaches: true, Subnet: b.subnet.String(),
		SetUp:  strings.NewReplacer("GATEWAY", gateway.String(), "SUBNET", b.subnet.String()).Replace(floorSetUp),
		Bridge: "cnibr0", Leases: "/run/floor", Rules: listRuleset(),
	}
}

// contestants builds all contestants that can be built. With "only" it builds only those, and each
// must be known. absent names those that can't run, with the reason.
func (b builder) contestants(only []string, plugins []Contestant) (list []Contestant, absent map[string]string, err error) {
	wanted := map[string]bool{}
	for _, name := range only {
		wanted[name] = true
	}
	absent = map[string]string{}
	offer := func(build func() error, offered ...Contestant) {
		var chosen []Contestant
		for _, c := range offered {
			if len(only) == 0 || wanted[c.Name] {
				chosen = append(chosen, c)
			}
			delete(wanted, c.Name)
		}
		if len(chosen) == 0 {
			return
		}
		if err := build(); err != nil {
			for _, c := range chosen {
				absent[c.Name] = err.Error()
			}
			return
		}
		list = append(list, chosen...)
	}
	if err := os.MkdirAll(b.cache, 0o755); err != nil {
		return nil, nil, err
	}
	if err := b.compile("launch", "launch"); err != nil {
		return nil, nil, err
	}
	ours, theirs := filepath.Join(b.cache, "swiftcni"), filepath.Join(b.cache, "reference-"+referenceVersion)
	b.offerUsual(ours, theirs, wanted, offer)
	for _, c := range chains() {
		names := c.contestants()
		slow, byIPTables := c.byIPTables()
		if !wanted[names[0]] && !wanted[names[1]] && !wanted[names[2]] && !wanted[names[3]] && !wanted[slow] {
			continue
		}
		offer(func() error { return errors.Join(b.compile("chain", "chain"), b.ours()) },
			b.chain(c, names[1], b.commit(), ours, false), b.chain(c, names[2], b.commit(), ours, true))
		offer(func() error { return errors.Join(b.compile("chain", "chain"), b.ours(), b.swiftctl()) },
			b.withResident(b.chain(c, names[3], b.commit(), ours, false)))
		offer(func() error { return errors.Join(b.compile("chain", "chain"), b.reference()) },
			b.chain(c, names[0], referenceVersion, theirs, false), b.chain(byIPTables, slow, referenceVersion, theirs, false))
	}
	for _, k := range kinds() {
		theirName, ourName := k.contestants()
		if !wanted[theirName] && !wanted[ourName] {
			continue
		}
		offer(func() error { return b.referenceKind(k) }, b.kind(k, theirName, referenceVersion, theirs))
		offer(b.ours, b.kind(k, ourName, b.commit(), ours))
	}
	for _, c := range plugins {
		if slices.ContainsFunc(list, func(other Contestant) bool { return other.Name == c.Name }) {
			return nil, nil, fmt.Errorf("two contestants are called %s", c.Name)
		}
		offer(func() error { return nil }, c)
	}
	if len(wanted) > 0 {
		return nil, nil, fmt.Errorf("no contestant is called %s", strings.Join(sortedKeys(wanted), " or "))
	}
	return list, absent, nil
}

// offerUsual offers the usual contestants, and those that are wanted, each with its build.
func (b builder) offerUsual(ours, theirs string, wanted map[string]bool, offer func(func() error, ...Contestant)) {
	nft, iptables := listRuleset(), []string{"iptables-save", "-t", "nat"}
	asked := b.plugin(idle, b.commit(), ours, true, "")
	asked.Attaches, asked.Env = false, []string{"CNI_COMMAND=VERSION"}
	offer(b.ours, b.plugin(swiftcni, b.commit(), ours, true, "", nft...), asked)
	offer(func() error { return errors.Join(b.ours(), b.swiftctl()) }, b.withResident(b.plugin(residents, b.commit(), ours, true, "", nft...)))
	if wanted[oursQueues] {
		offer(b.ours, b.plugin(oursQueues, b.commit(), ours, true, "", nft...).withQueues(runtime.NumCPU()))
	}
	offer(b.reference,
		b.plugin(reference, referenceVersion, theirs, false, ""),
		b.plugin(referenceIPTables, referenceVersion, theirs, true, "iptables", iptables...),
		b.plugin(referenceNFTables, referenceVersion, theirs, true, "nftables", nft...))
	offer(b.floor, b.floorContestant())
	offer(func() error { return b.compile("empty", "empty") }, Contestant{Name: emptyC, Plugin: filepath.Join(b.cache, "empty")})
	offer(b.emptyGo, Contestant{Name: emptyGo, Plugin: filepath.Join(b.cache, "empty-go")})
	if _, err := os.Stat(netavarkProgram); err == nil || wanted[netavark] {
		offer(func() error { return err }, b.netavark())
	}
}

// parsePlugin reads NAME=DIR:CONF, where CONF is the file of a single plugin's configuration. Its
// "type" is the name of the plugin in DIR. The plugin gets this process's CNI_ARGS, which some need.
func parsePlugin(s string) (Contestant, error) {
	name, rest, ok := strings.Cut(s, "=")
	dir, conf, ok2 := strings.Cut(rest, ":")
	if !ok || !ok2 || name == "" || dir == "" {
		return Contestant{}, fmt.Errorf("%q isn't NAME=DIR:CONF", s)
	}
	config, err := os.ReadFile(conf)
	if err != nil {
		return Contestant{}, err
	}
	var parsed struct{ Type, Bridge string }
	if err := json.Unmarshal(config, &parsed); err != nil {
		return Contestant{}, fmt.Errorf("%s: %w", conf, err)
	}
	if dir, err = filepath.Abs(dir); err != nil {
		return Contestant{}, err
	}
	plugin := filepath.Join(dir, parsed.Type)
	if _, err := os.Stat(plugin); err != nil || parsed.Type == "" {
		return Contestant{}, fmt.Errorf("%s: no plugin of type %q in %s", conf, parsed.Type, dir)
	}
	c := Contestant{Name: name, Plugin: plugin, Config: string(config), Attaches: true, Bridge: parsed.Bridge}
	if args := os.Getenv("CNI_ARGS"); args != "" {
		c.Env = []string{"CNI_ARGS=" + args}
	}
	return c, nil
}
