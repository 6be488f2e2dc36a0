// SPDX-License-Identifier: Apache-2.0

package netconf

import (
	"github.com/swiftcni/swiftcni/internal/jsontext"
)

// A Text is the configuration of a list's or chain's plugin as it was written.
type Text struct {
	JSON []byte
	Path string // such as "chain[1]"
}

// ReadTexts reads a list of configurations as they're written.
func ReadTexts(r *jsontext.Reader, to *[]Text) (present bool, err error) {
	return r.List(func() error {
		text, err := r.Value()
		*to = append(*to, Text{JSON: text, Path: r.Path()})
		return err
	})
}

// Common is what a list or a chain tells all of its plugins, over what they say themselves.
type Common struct {
	Name, CNIVersion string
	ArgsMAC          string              // see [Network].ArgsMAC
	Keys             []jsontext.Override // runtimeConfig and args, as far as they're there
}

// Common is what a chain of the network's tells its members.
func (n *Network) Common() *Common {
	of := &Common{Name: n.Name, CNIVersion: n.CNIVersion, ArgsMAC: n.ArgsMAC}
	r := n.Reader()
	// The text was read before, so nothing in it can be wrong.
	_ = r.Object(func(key string) error {
		if key != "runtimeconfig" && key != "args" {
			return nil
		}
		v, err := r.Value()
		of.Keys = append(of.Keys, jsontext.Override{Key: r.Key, Value: v})
		return err
	})
	return of
}

// Reader walks the network's keys, those of its list or chain among them.
func (n *Network) Reader() *jsontext.Reader {
	r := jsontext.NewReader(n.Text, "")
	if n.common != nil {
		r.Override(n.common.Keys)
	}
	return r
}

// Input is the configuration as another program gets it: with what its list or chain says.
func (n *Network) Input() []byte {
	if n.common == nil {
		return n.Text
	}
	w := jsontext.NewWriter(nil)
	w.Open('{')
	w.Key("cniVersion").Str(n.CNIVersion)
	w.Key("name").Str(n.Name)
	r := n.Reader()
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

// Capabilities reads the key of that name.
func (n *Network) Capabilities() map[string]bool {
	can := map[string]bool{}
	r := n.Reader()
	// The text was read before, so nothing in it isn't JSON; what isn't a boolean is none.
	_ = r.Object(func(key string) error {
		if key != "capabilities" {
			return nil
		}
		return r.Object(func(string) error {
			name, on := r.Key, false
			err := r.Bool(&on)
			can[name] = on
			return err
		})
	})
	return can
}
