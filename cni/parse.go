// SPDX-License-Identifier: Apache-2.0

package cni

import (
	"strconv"
	"strings"

	"github.com/swiftcni/swiftcni/internal/fault"
	"github.com/swiftcni/swiftcni/internal/netconf"
	"github.com/swiftcni/swiftcni/internal/roster"
)

// Parse reads a plugin's configuration, or a list of them (.conflist), and finds whatever is wrong
// with it for the plugin that its "type" names: keys, what they say together, the version, and the
// type itself. It touches nothing. The error is an *Error that names the key at fault, the first
// one in the order in which ADD would.
//
// A list is one network. [Attach] runs its plugins one after the other, each with the result of the
// one before, and takes all back if one fails; [Detach] runs them from the last to the first. Name
// and version are the list's, of several versions the newest that's known. What a runtime adds for
// each container, runtimeConfig and args, may stand beside "plugins", and is then every plugin's.
//
// It returns the network beside the error wherever there is one to speak of, for [Detach]: a
// configuration that turned invalid must not keep an address for ever. [Attach] and the other calls
// end with that same error. Without a valid name, or from what isn't JSON, there's no network.
//
// text is kept, and mustn't be changed while the network is in use.
func Parse(text []byte) (*Network, error) {
	n, err := parseList(text)
	if n == nil && err == nil {
		n, err = readFor(text, nil)
		if err == nil {
			n.err = n.problem()
		}
	}
	if n == nil {
		return nil, err
	}
	return n.parsed(), n.err
}

// readFor reads a configuration for the plugin that it names. It has none if there's no such
// plugin.
func readFor(text []byte, of *netconf.Common) (*Network, error) {
	conf, err := netconf.Read(text, "", of)
	if err != nil {
		return nil, err
	}
	p := findPlugin(conf.Type)
	if ipam := p.ipam(); ipam != "" { // then the key "ipam" is the plugin's own, whatever type that names
		if conf, err = netconf.Read(text, ipam, of); err != nil {
			return nil, err
		}
	}
	return newNetwork(conf, p), nil
}

// problem finds what is wrong with a configuration, in the order in which ADD would say so.
func (n *Network) problem() error {
	if n.served == nil {
		return errUnknownType(n.conf.Type)
	}
	if err := n.conf.Speaks(n.served.since); err != nil {
		return err
	}
	if err := n.conf.Wrong(n.served.reads | netconf.OfEach | netconf.OfGC); err != nil {
		return err
	}
	if err := n.wrong(Attachment{}); err != nil {
		return err
	}
	return n.checkMembers(Attachment{})
}

// wrong finds what is wrong with what the plugin alone judges. The zero Attachment stands for any.
func (n *Network) wrong(a Attachment) error {
	if n.served.prev && n.conf.PrevErr != nil {
		return n.conf.PrevErr
	}
	if err := n.room.Wrong(a); err != nil {
		return err
	}
	return nil
}

// errUnknownType is of a configuration for no plugin that's known.
func errUnknownType(name string) error {
	return fault.Key("type", `unknown plugin `+strconv.Quote(name)+`, expected "type" to be one of `+strings.Join(roster.Names(), ", "))
}
