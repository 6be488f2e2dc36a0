// SPDX-License-Identifier: Apache-2.0

package tuning

import (
	"path/filepath"
	"slices"
	"strings"

	"github.com/swiftcni/swiftcni/cni/spec"
	"github.com/swiftcni/swiftcni/internal/fault"
	"github.com/swiftcni/swiftcni/internal/hostid"
	"github.com/swiftcni/swiftcni/internal/names"
	"github.com/swiftcni/swiftcni/internal/proof"
	"github.com/swiftcni/swiftcni/internal/verbs"
	"github.com/swiftcni/swiftcni/ipam"
	"github.com/swiftcni/swiftcni/nft"
	"github.com/swiftcni/swiftcni/rtnl"
)

// savedOf begins the saved data of an attachment. It has the owner, and the evidence for its death:
// this boot, this namespace, and the host end, if the result shows one that bridge or ptp made.
func savedOf(c *verbs.Call, a spec.Attachment) (saved, error) {
	host, err := hostid.Read(nil)
	if err != nil {
		return saved{}, err
	}
	s := saved{network: c.Network, containerID: a.ContainerID, boot: host.Boot, trueBoot: host.BootIsReal(), netns: host.NetNS.Ino}
	_, s.hostEnd = names.Shown(c.Network, a, c.Prev)
	return s, nil
}

// owner is the owner of a file. The interface's name is in the file's name.
func (s *saved) owner(file string) (o nft.Owner, ok bool) {
	name := strings.TrimSuffix(filepath.Base(strings.TrimSuffix(file, ".tmp")), ".json")
	ifName, ok := strings.CutPrefix(name, s.containerID+"_")
	return nft.Owner{Network: s.network, ContainerID: s.containerID, IfName: ifName}, ok && s.network != "" && s.containerID != ""
}

// dead reports whether the attachment is provably gone: by its boot, or by its host end if that was
// made here.
func (s *saved) dead(o nft.Owner, p *proof.Proof) bool {
	r := ipam.Record{Owner: ipam.Owner{ContainerID: o.ContainerID, IfName: o.IfName}, Boot: s.boot, TrueBoot: s.trueBoot, NetNS: s.netns}
	for attempt := range names.Attempts {
		nm := names.Of(o.Network, o.ContainerID, o.IfName, attempt)
		if nm.Index == s.hostEnd {
			r.Link, r.Index, r.MAC = nm.Link, nm.Index, nm.MAC
		}
	}
	return p.Dead(o.Network, r)
}

// ForgetDead removes the data that the plugin tuning saved in dir for attachments that are provably
// dead, and returns their owners. networks are the networks to look at; nil is all. With dry it
// only returns the owners. Files of the CNI project's tuning prove nothing and stay. It goes on
// after an error. A container that comes back meanwhile has made its link before it saves, and so
// is seen to live.
func ForgetDead(dir string, networks []string, dry bool) (list []nft.Owner, _ error) {
	conn, err := rtnl.Dial(nil)
	if err != nil {
		return nil, fault.Wrap("open a netlink socket", err)
	}
	defer conn.Close()
	proof, err := proof.New(conn)
	if err != nil {
		return nil, err
	}
	err = eachSaved(dir, func(file string, s saved) error {
		if s.torn(file) && !dry {
			return removeTorn(file)
		}
		o, ok := s.owner(file)
		if !ok || networks != nil && !slices.Contains(networks, o.Network) || !s.dead(o, proof) {
			return nil
		}
		return forgetDead(file, o, proof, dry, &list)
	})
	return list, err
}

// forgetDead removes a dead owner's file, unless the owner has come back while the links of all
// namespaces were listed: the file may be new then.
func forgetDead(file string, o nft.Owner, p *proof.Proof, dry bool, list *[]nft.Owner) error {
	return removeIf(file, func() bool {
		back := p.IsBack(o)
		if !back {
			*list = append(*list, o)
		}
		return !back && !dry
	})
}
