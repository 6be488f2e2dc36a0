// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"

	"github.com/swiftcni/swiftcni/cni"
	"github.com/swiftcni/swiftcni/internal/facts"
)

// chained calls the plugins whose rules depend on facts that only the runtime knows. libcni
// remembers these facts.
func (s *syncing) chained(ctx context.Context) (err error) {
	for _, c := range s.confs {
		for _, p := range c.plugins {
			if p.Name != "portmap" && p.Name != "firewall" {
				continue
			}
			for _, h := range s.node.list {
				if h.Network == c.network.Name() && h.link.Index != 0 {
					err = join(err, s.again(ctx, c, p, h))
				}
			}
		}
	}
	return err
}

// again adds one attachment to one plugin again. Both plugins replace an owner's earlier rules by
// themselves.
func (s *syncing) again(ctx context.Context, c *netconf, p facts.Plugin, h *held) error {
	known, err := readCache(s.cache, h)
	if err != nil {
		if errors.Is(err, fs.ErrNotExist) {
			err = fmt.Errorf("libcni's cache in %s doesn't know it: the work of %s for it, if any, comes back when the container is started again", s.cache, p.Name)
		}
		return fmt.Errorf("%s/%s: %w", h.Network, h.who(), err)
	}
	conf, wants, err := known.call(p)
	if err != nil || !wants {
		return err
	}
	call := func(verb string) error {
		env := map[string]string{"CNI_COMMAND": verb, "CNI_CONTAINERID": h.ContainerID, "CNI_IFNAME": h.IfName,
			"CNI_NETNS": known.netns(), "CNI_PATH": defaultIPAMPath}
		_, err := cni.Call(ctx, p.Name, func(name string) string { return env[name] }, bytes.NewReader(conf))
		return err
	}
	if call("CHECK") == nil {
		return nil
	}
	if !s.dry {
		if err := join(s.rebuild(p), call("ADD")); err != nil {
			return fmt.Errorf("%s/%s: %s: %w", h.Network, h.who(), p.Name, err)
		}
	}
	what := "its way through the firewall"
	if p.Name == "portmap" {
		what = "its ports"
	}
	s.tell(h, s.verb("restored", "restore"), what)
	return nil
}

// rebuild makes the rules that lead to all ports anew, once. ADD only notices missing ones.
func (s *syncing) rebuild(p facts.Plugin) error {
	if p.Name != "portmap" || s.rebuilt {
		return nil
	}
	s.rebuilt = true
	return s.rules.Rebuild()
}

// cached is libcni's record of an attachment (libcni's cachedInfo).
type cached struct {
	Kind           string
	NetworkName    string
	ContainerID    string
	IfName         string
	Config         []byte // the configuration or the list that it was attached by
	CapabilityArgs map[string]json.RawMessage
	Result         json.RawMessage
}

func readCache(dir string, h *held) (*cached, error) {
	return readCached(filepath.Join(dir, "results", h.Network+"-"+h.ContainerID+"-"+h.IfName))
}

// withCached adds the configurations of networks that aren't named, and of which libcni's cache in
// a directory has containers.
func withCached(confs []*netconf, dir string) []*netconf {
	known := map[string]bool{}
	for _, c := range confs {
		known[c.network.Name()] = true
	}
	files, _ := filepath.Glob(filepath.Join(dir, "results", "*"))
	for _, path := range files {
		of, err := readCached(path)
		if err != nil || known[of.NetworkName] {
			continue
		}
		known[of.NetworkName] = true
		if c, err := parseNetconf(path, of.Config, paired); err == nil && c.network.Name() == of.NetworkName {
			confs = append(confs, c)
		}
	}
	return confs
}

func readCached(path string) (*cached, error) {
	text, err := readFile(path, maxConf)
	if err != nil {
		return nil, err
	}
	c := new(cached)
	if err := json.Unmarshal(text, c); err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	if c.Kind != "cniCacheV1" {
		return nil, fmt.Errorf("%s: kind %q, expected cniCacheV1", path, c.Kind)
	}
	return c, nil
}

// netns is the container's namespace, by the path in the result.
func (c *cached) netns() string {
	var r struct{ Interfaces []struct{ Sandbox string } }
	_ = json.Unmarshal(c.Result, &r) // it was JSON a moment ago
	for _, i := range r.Interfaces {
		if i.Sandbox != "" {
			return i.Sandbox
		}
	}
	return ""
}

// call is the plugin's configuration as libcni would give it: with the result, and with the
// plugin's capabilities. wants is false if the plugin has nothing to do.
func (c *cached) call(p facts.Plugin) (conf []byte, wants bool, err error) {
	var keys map[string]json.RawMessage
	if err := json.Unmarshal(p.Config, &keys); err != nil {
		return nil, false, err
	}
	runtime := map[string]json.RawMessage{}
	for name, value := range c.CapabilityArgs {
		if p.Capabilities[name] {
			runtime[name] = value
		}
	}
	if len(runtime) > 0 {
		if keys["runtimeConfig"], err = json.Marshal(runtime); err != nil {
			return nil, false, err
		}
	}
	keys["prevResult"] = c.Result
	conf, err = json.Marshal(keys)
	return conf, p.Name != "portmap" || hasKey(keys, "runtimeConfig"), err
}
