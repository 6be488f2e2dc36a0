// SPDX-License-Identifier: Apache-2.0

package main

import (
	"fmt"
	"net"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// of is the plugin with another name, and with other words in bridge's configuration.
func (p Plugin) of(way, plugin string, words ...string) Plugin {
	p.Name, p.Brief, p.Bridge = way, true, ""
	p.Path = filepath.Join(filepath.Dir(p.Path), plugin)
	p.Config = strings.NewReplacer(append(words, `"type":"bridge"`, `"type":"`+plugin+`"`)...).Replace(p.Config)
	return p
}

// linking is macvlan: it leaves nothing on the host but leases.
func linking(p Plugin) Plugin {
	p = p.of(oursLinks, "macvlan", `"bridge":"cnibr0"`, `"master":"master0"`)
	p.Master = "master0"
	return p
}

// tapping is tap, whose links the kernel numbers.
func tapping(p Plugin) Plugin { return p.of(oursTaps, "tap", `"bridge":"cnibr0",`, "") }

// lending is host-device: each container has a link of the host's, which must come back.
func lending(p Plugin) Plugin {
	p = p.of(oursLends, "host-device", `"bridge":"cnibr0"`, `"device":"`+lentPrefix+containerWord+`"`)
	p.Lends = true
	return p
}

// containerWord is a container's ID in a configuration.
const containerWord = "{container}"

// lentPrefix begins the names of links that are lent, and farPrefix those of their peers.
const lentPrefix, farPrefix = "lent-", "far-"

func ip(line string) error {
	if out, err := exec.Command("ip", strings.Fields(line)...).CombinedOutput(); err != nil {
		return fmt.Errorf("ip %s: %w: %s", line, err, out)
	}
	return nil
}

// connect makes the link that a plugin's are on, if it isn't there.
func (h *host) connect() error {
	if h.master == "" {
		return nil
	}
	if _, err := net.InterfaceByName(h.master); err == nil {
		return nil
	}
	for _, line := range []string{"link add " + h.master + " index 900 type veth peer name far0 index 901", "link set far0 up", "link set " + h.master + " up"} {
		if err := ip(line); err != nil {
			return err
		}
	}
	return nil
}

// lend makes the link that a container is to have.
func (h *host) lend(id string) error {
	if !h.lends {
		return nil
	}
	return ip("link add " + lentPrefix + id + " type veth peer name " + farPrefix + id)
}

// ended waits until a container's namespace has ended, with the link that it was lent. As long as it
// lives, the link keeps its address.
func (h *host) ended(id string) error {
	if !h.lends {
		return nil
	}
	for deadline := time.Now().Add(runLimit); ; time.Sleep(time.Millisecond) {
		if _, err := net.InterfaceByName(lentPrefix + id); err == nil {
			return nil // it's here
		}
		if _, err := net.InterfaceByName(farPrefix + id); err != nil {
			return nil
		}
		if time.Now().After(deadline) {
			return fmt.Errorf("the namespace of %s doesn't end", id)
		}
	}
}

// cut deletes the link on which an attachment depends.
func (t *trying) cut() {
	switch p := t.plugin; {
	case p.Bridge != "":
		_ = ip("link delete " + p.Bridge) // it may not exist yet
	case p.Master != "":
		_ = ip("link delete " + p.Master)
	case p.Lends:
		t.lost = ip("link delete "+farPrefix+victim) == nil
	}
}

// returned leaves out of a list of remains what the host had before: links that it lends. It adds
// those that containers haven't given back.
func (t *trying) returned(now snapshot, remains []string) []string {
	if !t.plugin.Lends {
		return remains
	}
	remains = slices.DeleteFunc(remains, func(line string) bool {
		return strings.HasPrefix(line, "host link "+lentPrefix) || strings.HasPrefix(line, "host link "+farPrefix)
	})
	for id := range t.host.containers {
		if !now["host link "+lentPrefix+id] && !(t.lost && id == victim) {
			remains = append(remains, lentPrefix+id+" hasn't come back")
		}
	}
	return remains
}

// marks are the alias and the alternative names of links that are lent (IFLA_IFALIAS and
// IFLA_PROP_LIST, linux/if_link.h).
func (s snapshot) marks(where string, _ map[int]string) error {
	return dump(unix.RTM_GETLINK, unix.SizeofIfInfomsg, func(_ syscall.NetlinkMessage, attrs map[uint16][]byte) {
		name := unix.ByteSliceToString(attrs[unix.IFLA_IFNAME])
		if !strings.HasPrefix(name, lentPrefix) {
			return
		}
		if alias := unix.ByteSliceToString(attrs[unix.IFLA_IFALIAS]); alias != "" {
			s[where+" alias "+alias+" of "+name] = true
		}
		if attrs[unix.IFLA_PROP_LIST] != nil {
			s[where+" alternative names of "+name] = true
		}
	})
}
