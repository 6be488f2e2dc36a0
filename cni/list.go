// SPDX-License-Identifier: Apache-2.0

package cni

import (
	"slices"

	"github.com/swiftcni/swiftcni/internal/fault"
	"github.com/swiftcni/swiftcni/internal/jsontext"
	"github.com/swiftcni/swiftcni/internal/netconf"
)

// A list of plugins (CNI specification, section 1) is the network of its first one, and the others
// are its members. A runtime puts the list's name and version into each; here each is read with
// them.

// listKeys are a list's own.
type listKeys struct {
	netconf.Common
	versions  []string // the key "cniVersions"
	plugins   []netconf.Text
	isList    bool
	noCheck   bool // key "disableCheck"
	noCollect bool // key "disableGC"
}

// parseList reads a list. It's nil without an error for what isn't one.
func parseList(text []byte) (*Network, error) {
	var l listKeys
	r := jsontext.NewReader(text, "")
	err := r.Object(func(key string) error { return l.field(r, key) })
	if !l.isList {
		return nil, nil
	}
	if err == nil {
		err = r.End()
	}
	switch {
	case err != nil:
		return nil, fault.Decode(err)
	case r.First != nil:
		return nil, fault.OfText(r.First)
	case len(l.plugins) == 0:
		return nil, fault.Key("plugins", "the list has no plugins")
	}
	l.CNIVersion = l.version()
	first := readMember(l.plugins[0], &l.Common)
	if first.network == nil {
		return nil, inList(first)
	}
	n := first.network
	n.listed, n.noCheck, n.noCollect = true, l.noCheck, l.noCollect
	n.err = inList(first)
	for _, p := range l.plugins[1:] {
		m := readMember(p, &l.Common)
		if m.network != nil {
			m.network.listed = true
		}
		n.members = append(n.members, m)
		if n.err == nil {
			n.err = inList(m)
		}
	}
	return n, n.err
}

// inList is what is wrong with a member of a list, said with its place unless it's the list's own
// key.
func inList(m member) error {
	switch {
	case m.err == nil:
		return nil
	case fault.Of(m.err).Key == "name" || fault.Of(m.err).Key == "cniVersion":
		return m.err
	}
	return inChain(m.path, m.err)
}

func (l *listKeys) field(r *jsontext.Reader, key string) (err error) {
	switch key {
	case "plugins":
		l.plugins = nil
		l.isList, err = netconf.ReadTexts(r, &l.plugins)
	case "name":
		return r.Str(&l.Name)
	case "cniversion":
		return r.Str(&l.CNIVersion)
	case "cniversions":
		_, err = r.Strs(&l.versions)
	case "disablecheck":
		return r.Bool(&l.noCheck)
	case "disablegc":
		return r.Bool(&l.noCollect)
	case "runtimeconfig", "args":
		var v []byte
		v, err = r.Value()
		l.Keys = append(l.Keys, jsontext.Override{Key: r.Key, Value: v})
	}
	return err
}

// version is the newest known of those that the list names.
func (l *listKeys) version() string {
	for _, v := range slices.Backward(Versions()) {
		if slices.Contains(l.versions, v) || l.CNIVersion == v {
			return v
		}
	}
	return l.CNIVersion
}
