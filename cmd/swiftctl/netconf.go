// SPDX-License-Identifier: Apache-2.0

package main

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"

	"github.com/spf13/cobra"
	"github.com/swiftcni/swiftcni/cni"
	"github.com/swiftcni/swiftcni/internal/facts"
)

// defaultConfDir is where runtimes look for configurations.
const defaultConfDir = "/etc/cni/net.d"

// netconf is the part of a configuration that says what the host should have.
type netconf struct {
	path    string
	network *cni.Network
	plugins []facts.Plugin // in the order in which they attach
	main    facts.Plugin   // bridge or ptp, or whichever is meant
}

// dataDirs adds the directories of leases that configurations name.
func dataDirs(dirs []string, confs []*netconf) []string {
	dirs = slices.Clone(dirs)
	for _, c := range confs {
		if dir := c.main.LeaseDir; dir != "" && !slices.Contains(dirs, dir) {
			dirs = append(dirs, dir)
		}
	}
	return dirs
}

// has reports whether a plugin is in the list.
func (c *netconf) has(name string) bool { return c.plugin(name) != nil }

// plugin returns the first plugin of a name, or nil.
func (c *netconf) plugin(name string) *facts.Plugin {
	if i := slices.IndexFunc(c.plugins, func(p facts.Plugin) bool { return p.Name == name }); i >= 0 {
		return &c.plugins[i]
	}
	return nil
}

// confFlag gives a command the flag --conf-dir.
func confFlag(cmd *cobra.Command) *string {
	return cmd.Flags().String("conf-dir", defaultConfDir, "`directory` of configurations, if none is named")
}

const confsHelp = "CONF are configurations (.conf) or lists (.conflist). Without any, those in --conf-dir that have a bridge or ptp\nplugin are used."

// readConfs reads the configurations that are named or, if none is, those in a directory.
// Configurations of other plugins in the directory are skipped. The list is as complete as the
// errors allow.
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

// errOtherPlugin is the error for a configuration without a plugin whose links are looked at.
var errOtherPlugin = errors.New(`has no "bridge" or "ptp" plugin`)

func readNetconf(path string) (*netconf, error) {
	text, err := readFile(path, maxConf)
	if err != nil {
		return nil, err
	}
	return parseNetconf(path, text, paired)
}

// paired are the plugins whose links are looked at: pairs, with an end on the host.
var paired = []string{"bridge", "ptp"}

// parseNetconf parses a configuration with one of the plugins that are meant.
func parseNetconf(path string, text []byte, mains []string) (*netconf, error) {
	n, err := cni.Parse(text)
	if n == nil {
		return nil, err
	}
	c := &netconf{path: path, network: n, plugins: facts.Of(n)}
	i := slices.IndexFunc(c.plugins, func(p facts.Plugin) bool { return slices.Contains(mains, p.Name) })
	if i < 0 {
		return nil, errOtherPlugin
	}
	// Another plugin beside it that isn't ours doesn't matter here.
	if c.main = c.plugins[i]; err != nil && !allKnown(c.plugins) {
		err = nil
	}
	return c, err
}

// allKnown reports whether all plugins are this module's.
func allKnown(list []facts.Plugin) bool {
	return !slices.ContainsFunc(list, func(p facts.Plugin) bool { return !slices.Contains(cni.PluginNames(), p.Name) })
}
