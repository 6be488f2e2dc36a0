// SPDX-License-Identifier: Apache-2.0

package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
	"text/tabwriter"
)

// ownKeys are those of bridge and ptp that the CNI project's plugins don't have, and what is lost
// without them.
var ownKeys = []struct{ key, lost string }{
	{"chain", "its plugins don't run; name them in the list instead"},
	{"groupfwdmask", "a bridge that's made anew forwards no link-local groups"},
	{"hostinterfacename", "host ends are called veth and eight random digits"},
	{"ip6masq", "IPv6 addresses go by ipMasq"},
	{"linklocal", "each container has a link-local address"},
	{"outboundaddr4", "masqueraded packets get the address of the link that they leave by"},
	{"outboundaddr6", "masqueraded packets get the address of the link that they leave by"},
	{"queues", "a link has the kernel's number of queues"},
	{"uplinkinterface", "the link doesn't join a bridge that's made anew"},
}

// A loss is a key of a configuration that means nothing, or something wrong, to the CNI project's
// plugins.
type loss struct{ file, plugin, key, what string }

// wayBack prints what configurations lose by the way back. It's an error if they lose anything.
func wayBack(w io.Writer, confs []*netconf) error {
	var list []loss
	var err error
	for _, c := range confs {
		text, readErr := readFile(c.path, maxConf)
		if readErr == nil {
			var lost []loss
			lost, readErr = losses(text)
			for _, l := range lost {
				l.file = c.path
				list = append(list, l)
			}
		}
		if readErr != nil {
			err = errors.Join(err, atPath(c.path, readErr))
		}
	}
	if len(list) == 0 {
		fmt.Fprintln(w, "the CNI project's plugins know every key")
		return err
	}
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprintln(t, "CONF\tPLUGIN\tKEY\tWITH THE CNI PROJECT'S PLUGINS")
	for _, l := range list {
		fmt.Fprintf(t, "%s\t%s\t%s\t%s\n", cell(l.file), cell(l.plugin), cell(l.key), l.what)
	}
	return errors.Join(err, t.Flush(), fmt.Errorf("%d keys are lost", len(list)))
}

// losses looks at a configuration, or at each plugin of a list.
func losses(text []byte) (list []loss, _ error) {
	var all struct {
		Plugins []json.RawMessage `json:"plugins"`
	}
	if err := json.Unmarshal(text, &all); err != nil {
		return nil, err
	}
	if all.Plugins == nil {
		all.Plugins = []json.RawMessage{text}
	}
	for _, p := range all.Plugins {
		keys := map[string]json.RawMessage{}
		if err := json.Unmarshal(p, &keys); err != nil {
			return nil, err
		}
		list = append(list, lossesOf(keys)...)
	}
	return list, nil
}

// lossesOf looks at one plugin's keys. Their case doesn't matter, as in the plugins.
func lossesOf(keys map[string]json.RawMessage) (list []loss) {
	var plugin string
	_ = json.Unmarshal(keys["type"], &plugin)
	if plugin != "bridge" && plugin != "ptp" {
		return nil
	}
	for _, name := range slices.Sorted(maps.Keys(keys)) {
		if strings.EqualFold(name, "mtu") && strings.HasPrefix(string(keys[name]), `"`) {
			list = append(list, loss{plugin: plugin, key: name, what: "it's refused, and every ADD with it; give a number"})
		}
		for _, own := range ownKeys {
			if strings.EqualFold(name, own.key) {
				list = append(list, loss{plugin: plugin, key: name, what: own.lost})
			}
		}
	}
	return list
}
