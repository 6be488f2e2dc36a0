// SPDX-License-Identifier: Apache-2.0

package main

import (
	"fmt"
	"slices"
	"strings"
)

// alias is another name for a plugin, as a distribution's configurations may have it. It's a link to the plugin's name, so the
// binary knows which one is meant.
type alias struct{ name, plugin string }

// parseAliases reads NAME=PLUGIN, each.
func parseAliases(texts, plugins []string) (list []alias, _ error) {
	for _, text := range texts {
		name, plugin, _ := strings.Cut(text, "=")
		switch {
		case name == "" || strings.ContainsAny(name, "/") || strings.HasPrefix(name, "."):
			return nil, &usageError{fmt.Errorf("--alias %q: the name isn't that of a file in a directory of plugins", text)}
		case !slices.Contains(plugins, plugin):
			return nil, &usageError{fmt.Errorf("--alias %q: expected NAME=PLUGIN, with one of the plugins %s", text, strings.Join(plugins, ", "))}
		case slices.Contains(plugins, name) || name == binaryName || strings.HasSuffix(name, referenceSuffix):
			return nil, &usageError{fmt.Errorf("--alias %q: %s has a meaning already", text, name)}
		case slices.ContainsFunc(list, func(a alias) bool { return a.name == name }):
			return nil, &usageError{fmt.Errorf("--alias %q: %s is given twice", text, name)}
		}
		list = append(list, alias{name, plugin})
	}
	return list, nil
}

func (in *installer) aliasNames() (names []string) {
	for _, a := range in.aliases {
		names = append(names, a.name)
	}
	return names
}

// all are the names of the directory's files.
func (in *installer) all() []string {
	return slices.Concat([]string{binaryName}, in.names, in.aliasNames())
}
