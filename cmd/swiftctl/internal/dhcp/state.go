// SPDX-License-Identifier: Apache-2.0

package dhcp

import (
	"encoding/json"
	"os"
	"path/filepath"
	"sort"
	"strings"
	"time"

	"github.com/insomniacslk/dhcp/dhcpv4"
)

// A state is the file of the leases, by which a daemon follows another.
type state struct {
	Boot   string  `json:"boot"` // namespaces and links are those of one
	Leases []saved `json:"leases"`
}

type saved struct {
	ClientID string         `json:"clientID"`
	NetNS    string         `json:"netns"`
	Dev      uint64         `json:"dev"` // of the namespace
	Ino      uint64         `json:"ino"`
	IfName   string         `json:"ifName"`
	Index    int            `json:"index"` // of the link
	MAC      string         `json:"mac"`
	Bound    time.Time      `json:"bound"`
	ACK      []byte         `json:"ack"`     // the server's message
	Options  map[int][]byte `json:"options"` // that are sent
}

// boot identifies the kernel's run.
func boot() string {
	text, _ := os.ReadFile("/proc/sys/kernel/random/boot_id")
	return strings.TrimSpace(string(text))
}

// write replaces the file in one step.
func (d *Daemon) write() error {
	s := state{Boot: boot(), Leases: []saved{}}
	d.mu.Lock()
	for _, l := range d.leases {
		if one, ok := l.saved(); ok {
			s.Leases = append(s.Leases, one)
		}
	}
	d.mu.Unlock()
	sort.Slice(s.Leases, func(i, j int) bool { return s.Leases[i].ClientID < s.Leases[j].ClientID })
	text, err := json.Marshal(s)
	if err != nil {
		return err
	}
	if err := os.MkdirAll(filepath.Dir(d.o.State), 0o700); err != nil {
		return err
	}
	next := d.o.State + ".next"
	if err := os.WriteFile(next, text, 0o600); err != nil {
		return err
	}
	return os.Rename(next, d.o.State)
}

// restore takes the leases of the file up whose links are still there. Those of others have ended.
func (d *Daemon) restore() {
	if d.o.State == "" {
		return
	}
	text, err := os.ReadFile(d.o.State)
	if err != nil {
		if !absent(err) {
			d.o.Log("the file of the leases: %v", err)
		}
		return
	}
	var s state
	if err := json.Unmarshal(text, &s); err != nil {
		d.o.Log("the file of the leases, which isn't used: %v", err)
		return
	}
	if s.Boot != boot() {
		return
	}
	for _, one := range s.Leases {
		if err := d.resume(&one); err != nil {
			d.o.Log("%s: the lease isn't taken up: %v", one.ClientID, err)
		}
	}
	d.keep()
}

// resume takes a lease up.
func (d *Daemon) resume(s *saved) error {
	ack, err := dhcpv4.FromBytes(s.ACK)
	if err != nil {
		return err
	}
	at, err := openLink(place{s.NetNS, s.IfName})
	if err != nil {
		return err
	}
	// Numbers of namespaces and links are used again.
	if at.id.Dev != s.Dev || at.id.Ino != s.Ino || at.index != s.Index || at.mac.String() != s.MAC {
		at.close()
		return errAnother
	}
	var opts []dhcpv4.Option
	for code, value := range s.Options {
		opts = append(opts, dhcpv4.OptGeneric(dhcpv4.GenericOptionCode(code), value))
	}
	l := d.newLease(s.ClientID, at.place, opts)
	l.link = at
	if err := l.commit(ack, s.Bound); err != nil {
		at.close()
		return err
	}
	close(l.ready)
	d.mu.Lock()
	d.leases[l.id] = l
	d.mu.Unlock()
	d.o.Log("%s: the lease of %v is taken up, which ends %v", l.id, ack.YourIPAddr, l.expiry.Round(0))
	go l.live()
	return nil
}
