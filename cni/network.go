// SPDX-License-Identifier: Apache-2.0

package cni

import (
	"github.com/swiftcni/swiftcni/internal/netconf"
	"github.com/swiftcni/swiftcni/internal/verbs"
)

// A Network is a configuration that was read. It doesn't change, and many goroutines may use one.
// Its defaults, limits and interplay are those of the reference plugins; docs/keys.md lists every
// key.
type Network struct {
	factsSource

	conf   *netconf.Network // of its first plugin
	told   verbs.Call       // what that plugin is told of it
	served *plugin          // that "type" names, or the program's own; nil: there's none
	room   verbs.Plugin     // what the plugin has made of its keys

	members            []member // that follow it
	listed             bool     // it's of a list's plugin, rather than of a chain's
	noCheck, noCollect bool     // keys "disableCheck" and "disableGC" of its list
	err                error    // what is wrong with the configuration: an embedder's calls end with it, but for Detach
}

// newNetwork makes a network of the configuration of a plugin, which is nil if nobody knows it. The
// plugin reads its keys, and the chain's plugins theirs.
func newNetwork(conf *netconf.Network, p *plugin) *Network {
	n := &Network{conf: conf, served: p, told: verbs.Call{Network: conf.Name, CNIVersion: conf.CNIVersion, LeaseDir: conf.IPAM.DataDir,
		Prev: conf.Prev, PrevText: conf.PrevText, PrevErr: conf.PrevErr}}
	if p == nil {
		return n
	}
	n.room = p.read(conf)
	if p.heads && len(conf.Chain) > 0 {
		n.readChain()
	}
	return n
}

// Name is the network's name, key "name".
func (n *Network) Name() string { return n.conf.Name }

// CNIVersion is the version whose result form ADD prints, key "cniVersion".
func (n *Network) CNIVersion() string { return n.conf.CNIVersion }

// Plugin is the name of the plugin that the configuration is for, key "type".
func (n *Network) Plugin() string { return n.conf.Type }

// PrevResult is the result that the runtime handed back, key "prevResult", or nil. It's the
// network's, and mustn't be changed.
func (n *Network) PrevResult() *Result { return n.conf.Prev }

// ValidAttachments is what GC may not touch, key "cni.dev/valid-attachments". No such key is nil.
// The list is the network's, and mustn't be changed.
func (n *Network) ValidAttachments() []Attachment { return n.conf.Valid }

// Plugins returns the names of the network's plugins in the order in which they attach: the first
// is [Network.Plugin], and the others are of its list or chain. Names that are unknown are among
// them.
func (n *Network) Plugins() []string {
	names := []string{n.conf.Type}
	for _, m := range n.members {
		if m.network != nil {
			names = append(names, m.network.Plugins()...)
		}
	}
	return names
}
