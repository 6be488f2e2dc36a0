// SPDX-License-Identifier: Apache-2.0

package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"net/netip"
	"os"
	"path/filepath"
	"slices"

	"github.com/spf13/cobra"
	"github.com/swiftcni/swiftcni/cni"
	"github.com/swiftcni/swiftcni/ipam"
)

// defaultConfDir is where runtimes look for configurations.
const defaultConfDir = "/etc/cni/net.d"

// netconf is what a configuration says that the host should have.
type netconf struct {
	path    string
	network *cni.Network
	plugins []member // of the list, in order, and of the bridge plugin's key "chain"
	keys    bridgeConf
}

// member is one of a list, with the list's name and version put into it.
type member struct {
	kind         string
	text         []byte
	capabilities map[string]bool // what a runtime may tell it
}

// bridgeConf are keys of the bridge plugin, as far as the host's state follows from them.
type bridgeConf struct {
	Bridge           string
	IsGateway        bool
	IsDefaultGateway bool
	IPMasq           bool
	MACSpoofChk      bool
	VLAN             int
	IPAM             struct {
		Type, DataDir string
		Subnet        netip.Prefix
		Gateway       netip.Addr
		Ranges        [][]struct {
			Subnet  netip.Prefix
			Gateway netip.Addr
		}
	}
	Capabilities map[string]bool
	Chain        []map[string]json.RawMessage
}

// gateways are the addresses that the bridge should have, each with its subnet's length.
func (k *bridgeConf) gateways() (list []netip.Prefix) {
	if !k.IsGateway && !k.IsDefaultGateway || k.VLAN != 0 {
		return nil
	}
	add := func(subnet netip.Prefix, gateway netip.Addr) {
		r, err := ipam.Range{Subnet: subnet, Gateway: gateway}.Canonical()
		if err == nil {
			list = append(list, netip.PrefixFrom(r.Gateway, subnet.Bits()))
		}
	}
	add(k.IPAM.Subnet, k.IPAM.Gateway)
	for _, set := range k.IPAM.Ranges {
		for _, r := range set {
			add(r.Subnet, r.Gateway)
		}
	}
	return list
}

func (k *bridgeConf) dataDir() string {
	if k.IPAM.DataDir == "" {
		return ipam.DefaultDir
	}
	return k.IPAM.DataDir
}

// dataDirs adds the directories of leases that configurations name.
func dataDirs(dirs []string, confs []*netconf) []string {
	dirs = slices.Clone(dirs)
	for _, c := range confs {
		if c.keys.IPAM.Type == "host-local" && !slices.Contains(dirs, c.keys.dataDir()) {
			dirs = append(dirs, c.keys.dataDir())
		}
	}
	return dirs
}

// has reports whether a plugin is in the list.
func (c *netconf) has(kind string) bool {
	return slices.ContainsFunc(c.plugins, func(p member) bool { return p.kind == kind })
}

// zone is what the list says of firewalld's zone, "" if it says nothing.
func (c *netconf) zone() string {
	for _, p := range c.plugins {
		var keys struct{ FirewalldZone string }
		if p.kind == "firewall" && json.Unmarshal(p.text, &keys) == nil {
			return keys.FirewalldZone
		}
	}
	return ""
}

// confFlag gives a command the flag --conf-dir.
func confFlag(cmd *cobra.Command) *string {
	return cmd.Flags().String("conf-dir", defaultConfDir, "`directory` of configurations, where none are named")
}

const confsHelp = "CONF are configurations (.conf) or lists (.conflist); without any, those in --conf-dir count that have a\nbridge or ptp plugin."

// readConfs reads the configurations that are named or, if none is, those in a directory. Of the latter, those of
// other plugins are passed over. The list is as whole as the errors allow.
func readConfs(paths []string, dir string, dirNamed bool) (list []*netconf, err error) {
	named := len(paths) > 0
	if !named {
		entries, dirErr := os.ReadDir(dir)
		if errors.Is(dirErr, fs.ErrNotExist) && !dirNamed {
			return nil, nil
		}
		if dirErr != nil {
			return nil, dirErr
		}
		for _, e := range entries {
			if slices.Contains([]string{".conf", ".conflist", ".json"}, filepath.Ext(e.Name())) && !e.IsDir() {
				paths = append(paths, filepath.Join(dir, e.Name()))
			}
		}
	}
	for _, path := range paths {
		c, confErr := readNetconf(path)
		switch {
		case errors.Is(confErr, errOtherPlugin) && !named:
		case confErr != nil:
			err = errors.Join(err, atPath(path, confErr))
		default:
			list = append(list, c)
		}
	}
	return list, err
}

// atPath makes sure that an error names the configuration's path.
func atPath(path string, err error) error {
	var at *fs.PathError
	if errors.As(err, &at) && at.Path == path {
		return err
	}
	return fmt.Errorf("%s: %w", path, err)
}

// errOtherPlugin is a configuration that isn't for a plugin that makes links.
var errOtherPlugin = errors.New(`has no "bridge" or "ptp" plugin`)

func readNetconf(path string) (*netconf, error) {
	text, err := readFile(path, maxConf)
	if err != nil {
		return nil, err
	}
	return parseNetconf(path, text)
}

func parseNetconf(path string, text []byte) (c *netconf, err error) {
	c = &netconf{path: path}
	if c.plugins, err = pluginsOf(text); err != nil {
		return nil, err
	}
	i := slices.IndexFunc(c.plugins, func(p member) bool { return p.kind == "bridge" || p.kind == "ptp" })
	if i < 0 {
		return nil, errOtherPlugin
	}
	main := c.plugins[i]
	if c.network, err = cni.Parse(main.text); err != nil {
		return nil, err
	}
	if err := json.Unmarshal(main.text, &c.keys); err != nil {
		return nil, err
	}
	chain := confList{Name: c.network.Name(), CNIVersion: c.network.CNIVersion(), Plugins: c.keys.Chain}
	members, err := chain.members()
	if err != nil {
		return nil, fmt.Errorf("chain: %w", err)
	}
	for i := range members {
		members[i].capabilities = c.keys.Capabilities // what the runtime tells goes to all of the chain
	}
	c.plugins = append(c.plugins, members...)
	if main.kind == "ptp" {
		c.keys.Bridge, c.keys.IsGateway, c.keys.IsDefaultGateway = "", false, false
	} else if c.keys.Bridge == "" {
		c.keys.Bridge = "cni0"
	}
	return c, nil
}

// pluginsOf returns the plugins of a list, or a plain configuration's own.
func pluginsOf(text []byte) (list []member, err error) {
	var keys map[string]json.RawMessage
	if err := json.Unmarshal(text, &keys); err != nil {
		return nil, err
	}
	if !hasKey(keys, "plugins") {
		p, err := memberOf(text)
		return []member{p}, err
	}
	var of confList
	if err := json.Unmarshal(text, &of); err != nil {
		return nil, err
	}
	return of.members()
}

// members are the list's plugins, each with what a runtime puts into it.
func (l *confList) members() (list []member, err error) {
	for i, p := range l.Plugins {
		text, err := l.inject(p)
		if err != nil {
			return nil, err
		}
		m, err := memberOf(text)
		if err != nil || m.kind == "" {
			return nil, fmt.Errorf(`plugins[%d]: "type" is missing or no string`, i)
		}
		list = append(list, m)
	}
	return list, nil
}

func memberOf(text []byte) (member, error) {
	var head struct {
		Type         string
		Capabilities map[string]bool
	}
	err := json.Unmarshal(text, &head)
	return member{head.Type, text, head.Capabilities}, err
}
