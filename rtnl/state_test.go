// SPDX-License-Identifier: Apache-2.0

package rtnl

import (
	"strings"
	"syscall"
	"testing"
)

// What only the kernel says can't be sent. The object in it can.
func TestNoStateIsAnObject(t *testing.T) {
	for _, state := range []any{LinkState{answer: answer{}}, AddrState{answer: answer{}}, RuleState{answer: answer{}}} {
		if _, ok := state.(Object); ok {
			t.Errorf("a batch takes a %T", state)
		}
	}
}

// A link is set to what was read of it, though some of that is fixed.
func TestLinkReadCanBeSet(t *testing.T) {
	host, _ := goldenWorld(t)
	was, err := host.Link("host0")
	if err != nil || was.Queues == 0 || was.Kind != "veth" || was.PeerIndex != 30 {
		t.Fatalf("%+v, %v", was, err)
	}
	host.must(t, func(b *Batch) {
		was.Name = "" // which an older kernel takes for a new one
		b.Set(Link{Index: was.Index, MTU: 1300, Alias: "other"})
		b.Set(was.Link)
	})
	if now, err := host.Link("host0"); err != nil || now.MTU != was.MTU || now.Master != was.Master {
		t.Errorf("%+v, %v, want %+v", now, err, was)
	}
}

// The kernel would make such a peer without a word.
func TestPeerGetsNoMaster(t *testing.T) {
	host, _ := goldenWorld(t)
	var b Batch
	b.Create(Veth{Link: Link{Name: "a"}, Peer: Link{Name: "b", Master: 10}})
	err := host.Do(&b)
	if e, ok := as[*Error](err); !ok || e.Errno != syscall.EINVAL || !strings.Contains(e.Reason, "master") {
		t.Error(err)
	}
	if _, err := host.Index("a"); err == nil {
		t.Error("it was made all the same")
	}
}
