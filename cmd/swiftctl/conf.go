// SPDX-License-Identifier: Apache-2.0

package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strconv"
	"strings"

	"github.com/swiftcni/swiftcni/cni"
)

// maxConf bounds a configuration, in bytes.
const maxConf = 16 << 20

// confHelp tells what CONF is.
const (
	confHelp = `CONF is a plugin configuration (.conf) or a list of them (.conflist). Of a list the bridge plugin is used; its
other plugins are named, and not run.`
	stdinHelp = ` "-" is standard input.`
)

// conf is a network that was read, and what of its file isn't used.
type conf struct {
	network *cni.Network
	others  []string // plugins of the list besides the bridge plugin
}

// readConf reads the configuration at path; "-" is stdin. lax takes one that has turned invalid, as far as it can be read.
func readConf(path string, stdin io.Reader, lax bool) (*conf, error) {
	text, err := readConfText(path, stdin)
	if err != nil {
		return nil, err
	}
	c := new(conf)
	if text, c.others, err = bridgeOf(text); err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	if c.network, err = cni.Parse(text); err != nil && (c.network == nil || !lax) {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	n := c.network
	if n.Plugin() != "bridge" {
		return nil, fmt.Errorf(`%s: "type" is %q, and only "bridge" can be attached to`, path, n.Plugin())
	}
	return c, nil
}

func readConfText(path string, stdin io.Reader) ([]byte, error) {
	if path == "-" {
		return readBounded(stdin, "standard input", maxConf)
	}
	return readFile(path, maxConf)
}

func readFile(path string, limit int64) ([]byte, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	return readBounded(f, path, limit)
}

// readBounded reads all of r, which may hold limit bytes at most.
func readBounded(r io.Reader, name string, limit int64) ([]byte, error) {
	text, err := io.ReadAll(io.LimitReader(r, limit+1))
	if err == nil && int64(len(text)) > limit {
		err = errors.New("larger than " + strconv.FormatInt(limit>>20, 10) + " MiB")
	}
	if err != nil {
		return nil, fmt.Errorf("read %s: %w", name, err)
	}
	return text, nil
}

// confList is a network configuration list (CNI specification, section 1).
type confList struct {
	CNIVersion  string
	CNIVersions []string
	Name        string
	Plugins     []map[string]json.RawMessage
}

// bridgeOf returns the bridge plugin's configuration of a list, with the list's name and version put into it as
// a runtime does, and the types of the list's other plugins. What isn't a list comes back as it is.
func bridgeOf(text []byte) (plugin []byte, others []string, err error) {
	var keys map[string]json.RawMessage
	if json.Unmarshal(text, &keys) != nil || !hasKey(keys, "plugins") {
		return text, nil, nil // what's wrong with a plain configuration is told by its own parser
	}
	var list confList
	if err := json.Unmarshal(text, &list); err != nil {
		return nil, nil, err
	}
	for i, p := range list.Plugins {
		var kind string
		if err := json.Unmarshal(p["type"], &kind); err != nil {
			return nil, nil, fmt.Errorf(`plugins[%d]: "type" is missing or no string`, i)
		}
		if kind != "bridge" || plugin != nil {
			others = append(others, kind)
			continue
		}
		if plugin, err = list.inject(p); err != nil {
			return nil, nil, err
		}
	}
	if plugin == nil {
		return nil, nil, fmt.Errorf("the list has no bridge plugin, only [%s]", strings.Join(others, ", "))
	}
	return plugin, others, nil
}

func hasKey(keys map[string]json.RawMessage, name string) bool {
	for key := range keys {
		if strings.EqualFold(key, name) {
			return true
		}
	}
	return false
}

// inject puts name and version into a plugin's configuration, over its own.
func (l *confList) inject(plugin map[string]json.RawMessage) ([]byte, error) {
	for key, value := range map[string]string{"name": l.Name, "cniVersion": l.version()} {
		text, err := json.Marshal(value)
		if err != nil {
			return nil, err
		}
		plugin[key] = text
	}
	return json.Marshal(plugin)
}

// version is the newest known of those that the list names.
func (l *confList) version() string {
	known := cni.Versions()
	for _, v := range slices.Backward(known) {
		if slices.Contains(l.CNIVersions, v) || l.CNIVersion == v {
			return v
		}
	}
	return l.CNIVersion
}

// notRun tells which plugins of a list weren't run.
func (c *conf) notRun(stderr io.Writer) {
	if len(c.others) > 0 {
		fmt.Fprintln(stderr, "swiftctl: not run, of the list's plugins:", strings.Join(c.others, ", "))
	}
}
