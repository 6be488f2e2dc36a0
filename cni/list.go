// SPDX-License-Identifier: Apache-2.0

package cni

import (
	"slices"

	"github.com/swiftcni/swiftcni/internal/fault"
	"github.com/swiftcni/swiftcni/internal/jsontext"
)

// A list of plugins (CNI specification, section 1) is the network of its first one, and the others
// are its members. A runtime puts the list's name and version into each; here each is read with
// them.

// listKeys are a list's own.
type listKeys struct {
	common
	versions  []string // the key "cniVersions"
	plugins   []memberText
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
		return nil, invalidKey("plugins", "the list has no plugins")
	}
	l.cniVersion, l.list = l.version(), true
	first := readMember(l.plugins[0], &l.common)
	if first.network == nil {
		return nil, inList(first)
	}
	n := first.network
	n.noCheck, n.noCollect = l.noCheck, l.noCollect
	n.err = inList(first)
	for _, p := range l.plugins[1:] {
		m := readMember(p, &l.common)
		if n.follow(m); n.err == nil {
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
	case asError(m.err).Key == "name" || asError(m.err).Key == "cniVersion":
		return m.err
	}
	return inChain(m.path, m.err)
}

func (l *listKeys) field(r *jsontext.Reader, key string) (err error) {
	switch key {
	case "plugins":
		l.plugins = nil
		l.isList, err = readTexts(r, &l.plugins)
	case "name":
		return r.Str(&l.name)
	case "cniversion":
		return r.Str(&l.cniVersion)
	case "cniversions":
		_, err = r.Strs(&l.versions)
	case "disablecheck":
		return r.Bool(&l.noCheck)
	case "disablegc":
		return r.Bool(&l.noCollect)
	case "runtimeconfig", "args":
		var v []byte
		v, err = r.Value()
		l.keys = append(l.keys, jsontext.Override{Key: r.Key, Value: v})
	}
	return err
}

// version is the newest known of those that the list names.
func (l *listKeys) version() string {
	for _, v := range slices.Backward(Versions()) {
		if slices.Contains(l.versions, v) || l.cniVersion == v {
			return v
		}
	}
	return l.cniVersion
}

// input is the configuration as another program gets it: with what its list says.
func (n *Network) input() []byte {
	if n.common == nil {
		return n.text
	}
	w := jsontext.NewWriter(nil)
	w.Open('{')
	w.Key("cniVersion").Str(n.cniVersion)
	w.Key("name").Str(n.name)
	r := n.reader()
	// The text was read before, so nothing in it can be wrong.
	_ = r.Object(func(key string) error {
		if key == "name" || key == "cniversion" {
			return nil
		}
		name := r.Key
		v, err := r.Value()
		w.Key(name).Raw(string(v))
		return err
	})
	w.Close('}')
	return w.Bytes()
}

// Plugins returns the names of the network's plugins in the order in which they attach: the first
// is [Network.Plugin], and the others are of its list or chain. Names that are unknown are among
// them.
func (n *Network) Plugins() []string {
	names := []string{n.plugin}
	for _, m := range n.members {
		if m.network != nil {
			names = append(names, m.network.Plugins()...)
		}
	}
	return names
}
