// SPDX-License-Identifier: Apache-2.0

package device

import (
	"strconv"
	"strings"

	"github.com/swiftcni/swiftcni/cni/spec"
	"github.com/swiftcni/swiftcni/internal/addresses"
	"github.com/swiftcni/swiftcni/internal/endpoint"
	"github.com/swiftcni/swiftcni/internal/fault"
	"github.com/swiftcni/swiftcni/internal/hostid"
	"github.com/swiftcni/swiftcni/internal/verbs"
	"github.com/swiftcni/swiftcni/rtnl"
)

// theMaster stands for the master's index in a text: a number that no batch holds by chance.
const theMaster = 1 << 22

// Explain tells what Add would do now, and changes nothing. The container's namespace needn't exist,
// so a master of the container's isn't looked at.
func (k *Keys) Explain(a spec.Attachment) (string, error) {
	if a.NetNS == "" {
		a.NetNS = "/proc/self/ns/net" // it's only named
	}
	if err := k.checkAdd(&verbs.Call{Prev: k.conf.Prev}, a); err != nil {
		return "", err
	}
	at := &attaching{keys: k, attachment: a, prev: k.conf.Prev, container: &rtnl.NetNS{}}
	var err error
	if at.mac, err = k.chooseMAC(a); err != nil {
		return "", err
	}
	if at.host, err = hostid.Read(nil); err != nil {
		return "", err
	}
	if at.conn, err = rtnl.Dial(nil); err != nil {
		return "", fault.Wrap("open a netlink socket", err)
	}
	defer at.conn.Close()
	at.below = at.conn
	at.master.Name = k.master
	if !k.within {
		if err := at.findMaster(); err != nil {
			return "", err
		}
	}
	foreseen, err := addresses.Foresee(k.conf, a, at.host, at.conn, nil)
	if err != nil {
		return "", fault.Of(err)
	}
	of := endpoint.Whole
	if k.conf.Delegates() {
		of = endpoint.Asking
	} else if addresses.Of(k.conf) == nil && at.prev != nil && k.kind == ipvlan {
		foreseen.Given = at.prev
	}
	if err := at.decide(foreseen.Given, of); err != nil {
		return "", err
	}
	return foreseen.Before + at.text() + foreseen.After, nil
}

// text tells an attachment whose parts are decided.
func (at *attaching) text() string {
	at.link.Index = at.keys.namesOf(at.attachment, 0).Peer
	making := at.tapText
	if at.keys.kind != tap {
		making = at.linkText
	}
	return making() + at.link.Text(at.batch)
}

func (at *attaching) linkText() string {
	if at.keys.kind != dummy {
		at.master.Index = theMaster
	}
	var b rtnl.Batch
	at.describe(&b, at.link.Name)
	place := "host       "
	if at.keys.within {
		place = "container  "
	}
	of := at.master.Name
	if of == "" {
		of = "of the default route"
	}
	return place + strings.NewReplacer(" netns fd 0", " netns container", strconv.Itoa(theMaster), of).Replace(b.String())
}

func (at *attaching) tapText() string {
	t, text := &at.keys.tap, "container  create tap "+at.link.Name
	if t.multiQueue {
		text += " multi_queue"
	}
	for _, of := range []struct {
		word string
		id   *int
	}{{" user ", t.owner}, {" group ", t.group}} {
		if of.id != nil {
			text += of.word + strconv.Itoa(*of.id)
		}
	}
	if t.label != "" {
		text += " context " + t.label
	}
	link := rtnl.Link{Index: at.link.Index, MAC: at.mac, MTU: at.keys.mtu}
	var b rtnl.Batch
	if t.bridge != "" {
		link.Master = theMaster
	}
	b.Set(link)
	return text + "\n" + strings.ReplaceAll(at.link.InContainer(&b), strconv.Itoa(theMaster), t.bridge)
}
