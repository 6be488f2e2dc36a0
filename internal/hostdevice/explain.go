// SPDX-License-Identifier: Apache-2.0

package hostdevice

import (
	"strconv"

	"github.com/swiftcni/swiftcni/cni/spec"
	"github.com/swiftcni/swiftcni/internal/addresses"
	"github.com/swiftcni/swiftcni/internal/endpoint"
	"github.com/swiftcni/swiftcni/internal/fault"
	"github.com/swiftcni/swiftcni/internal/hostid"
	"github.com/swiftcni/swiftcni/rtnl"
)

// theLink stands for the link's index in a text: a number that no batch holds by chance, as a card's
// own, such as 2, does in each address.
const theLink = 1 << 22

// Explain tells what Add would do now, and changes nothing. The container's namespace needn't exist.
func (k *Keys) Explain(a spec.Attachment) (string, error) {
	if a.NetNS == "" {
		a.NetNS = "/proc/self/ns/net" // it's only named
	}
	userspace, err := k.checkAdd(a)
	if err != nil {
		return "", err
	}
	at := &attaching{keys: k, attachment: a}
	if at.host, err = hostid.Read(nil); err != nil {
		return "", err
	}
	conn, err := rtnl.Dial(nil)
	if err != nil {
		return "", fault.Wrap("open a netlink socket", err)
	}
	defer conn.Close()
	at.passage = passage{keys: k, host: conn, ifName: a.IfName, mark: k.mark(a)}
	text := ""
	if userspace {
		text = "container  no link: a program has the device\n"
	} else if text, err = at.moveText(); err != nil {
		return "", err
	}
	foreseen, err := addresses.Foresee(k.conf, a, at.host, conn, nil)
	if err != nil {
		return "", fault.Of(err)
	}
	if k.conf.Delegates() {
		at.link.Phase = endpoint.Asking
	}
	at.link.Take(k.conf, foreseen.Given, 0)
	if !userspace {
		text += at.link.Text(at.link.Batch)
	}
	return foreseen.Before + text + foreseen.After, nil
}

// moveText tells the device's way into the container, with what the host has on it.
func (at *attaching) moveText() (string, error) {
	p := &at.passage
	l, err := p.keys.find(p.host)
	if err != nil && fault.Absent(err) {
		if stray, ok := p.stray(); ok {
			l, err = stray, nil
		}
	}
	if err != nil {
		return "", err
	}
	at.lent, at.link.Name, at.link.Index = l, p.ifName, theLink
	if err := at.capture(); err != nil {
		return "", err
	}
	text := ""
	if name := p.keys.hostName(l); isStray(l) && name != "" {
		text = "host       set link " + l.Name + " name " + name + ", its own, as it's back from a container\n"
		l.Name = name
	}
	text += "host       set link " + l.Name + " alias " + strconv.Quote(l.Name) + " altname " + p.mark + "\n" +
		"host       set link " + l.Name + " name " + p.ifName + " netns container\n"
	if at.network.empty() {
		return text, nil
	}
	var b rtnl.Batch
	at.network.put(&b, theLink)
	for _, r := range at.network.rules {
		b.Create(r)
	}
	return text + at.link.InContainer(&b), nil
}
