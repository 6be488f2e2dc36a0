// SPDX-License-Identifier: Apache-2.0

package rtnl

import (
	"errors"
	"io/fs"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/swiftcni/swiftcni/internal/test/nstest"
)

func TestCreateTap(t *testing.T) {
	nstest.Full(t, "it opens /dev/net/tun, which is the machine's")
	host, c := newSide(t, "host"), newSide(t, "container")
	for _, tap := range []Tap{
		{Name: "tap0", Owner: NoOwner, Group: NoOwner},
		{Name: "tap1", MultiQueue: true, Owner: 1001, Group: 1002},
		{Name: "tap2-is-15-long", Index: 1 << 24},
	} {
		if err := CreateTap(c.ns, tap); err != nil {
			t.Fatal(err)
		}
		if _, err := host.Index(tap.Name); !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("%s is outside: %v", tap.Name, err)
		}
	}
	for name, want := range map[string]string{
		"tap0": "tun type tap pi off vnet_hdr on persist on addrgenmode", "tap2-is-15-long": "tun type tap pi off vnet_hdr on persist on user 0 group 0",
		"tap1": "tun type tap pi off vnet_hdr on multi_queue numqueues 0 numdisabled 0 persist on user 1001 group 1002",
	} {
		if out := nstest.Run(t, c.ns.Path(), "ip", "-d", "link", "show", name); !strings.Contains(strings.ReplaceAll(strings.Join(strings.Fields(out), " "), " root", " 0"), want) {
			t.Errorf("no %q in\n%s", want, out)
		}
	}
	if index, err := c.Index("tap2-is-15-long"); err != nil || index != 1<<24 {
		t.Errorf("index %d, %v", index, err)
	}
	if err := CreateTap(c.ns, Tap{Name: "tap3", Index: 1 << 24}); !errors.Is(err, fs.ErrExist) {
		t.Errorf("an index that's taken: %v", err)
	}
	// It's a link like others.
	c.must(t, func(b *Batch) {
		b.Create(Bridge{Link: Link{Index: 10, Name: "br0"}})
		b.Set(Link{Name: "tap0", MAC: mac(t, "02:00:00:00:00:07"), MTU: 1400, State: Up, Master: 10})
	})
	if l, err := c.Link("tap0"); err != nil || l.Kind != "tun" || l.MTU != 1400 || l.Master != 10 || l.MAC.String() != "02:00:00:00:00:07" {
		t.Errorf("%+v, %v", l, err)
	}
	for name, want := range map[string]error{"tap0": fs.ErrExist, "br0": fs.ErrExist, "lo": fs.ErrExist, "": unix.EINVAL,
		"a-name-of-16-byte": unix.EINVAL, "tap%d": unix.EINVAL, "a/b": unix.EINVAL, "a\x00b": unix.EINVAL} {
		err := CreateTap(c.ns, Tap{Name: name})
		if !errors.Is(err, want) || !strings.HasPrefix(err.Error(), "create tap "+name+": ") {
			t.Errorf("%q: got %v, want %v", name, err, want)
		}
	}
	// No policy knows such a context, nor does a kernel without SELinux.
	for _, context := range []string{"a:b:c:s0", "a\x00b"} {
		var file *fs.PathError
		if err := CreateTap(c.ns, Tap{Name: "tap3", Context: context}); !errors.As(err, &file) || file.Op != "write" {
			t.Errorf("context %q: %v", context, err)
		}
	}
	c.must(t, func(b *Batch) { b.Delete(Link{Name: "tap0"}) })
	for l, err := range c.Links(LinkFilter{}) {
		if err != nil || l.Name != "lo" && l.Name != "br0" && l.Name != "tap1" && l.Name != "tap2-is-15-long" {
			t.Errorf("%+v, %v", l, err)
		}
	}
}
