// SPDX-License-Identifier: Apache-2.0

package main

import (
	"errors"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/swiftcni/swiftcni/cni"
	"github.com/swiftcni/swiftcni/internal/test/nstest"
	"github.com/swiftcni/swiftcni/nft"
)

// sweepingWorld is a network whose leases are in a directory.
type sweepingWorld struct {
	t    *testing.T
	n    *cni.Network
	conf []byte
	dir  string
}

// ofLength are names of a network and of a container, each of which may be too long for the ruleset's comments.
func ofLength() map[string][2]string {
	long := strings.Repeat("0123456789abcdef", 8)
	return map[string][2]string{"usual names": {"sweep1", "c1"}, "a long container ID": {"sweep2", long}, "a long network name": {"sweep3" + long, "c1"}}
}

func newSweepingWorld(t *testing.T, network string) *sweepingWorld {
	t.Helper()
	dir := t.TempDir()
	conf := fmt.Appendf(nil, `{"cniVersion":"1.1.0","name":%q,"type":"bridge","bridge":"sweeping","isGateway":true,"ipMasq":true,
		"ipam":{"type":"host-local","subnet":"10.94.0.0/24","dataDir":%q}}`, network, dir)
	n, err := cni.Parse(conf)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { nstest.Run(t, "", "ip", "link", "delete", "sweeping") })
	return &sweepingWorld{t, n, conf, dir}
}

func (w *sweepingWorld) add(id string, addrs ...netip.Addr) (cni.Attachment, *cni.Result) {
	w.t.Helper()
	a := cni.Attachment{ContainerID: id, IfName: "eth0", NetNS: nstest.New(w.t, "c"), Addrs: addrs}
	res, err := cni.Attach(w.t.Context(), w.n, a)
	if err != nil {
		w.t.Fatal(err)
	}
	w.t.Cleanup(func() {
		if err := cni.Detach(w.t.Context(), w.n, a); err != nil {
			w.t.Error(err)
		}
	})
	return a, res
}

func (w *sweepingWorld) node() *node {
	w.t.Helper()
	n, err := readNode(w.t.Context(), []string{w.dir})
	if err != nil {
		w.t.Fatal(err)
	}
	return n
}

// sweep returns the owners of the network whose rules it says went. Other tests may have left rules of
// theirs.
func (w *sweepingWorld) sweep(n *node) (swept []nft.Owner) {
	w.t.Helper()
	s := sweeping{dirs: []string{w.dir}, node: n, done: func(h *held) { swept = append(swept, h.owner()) }}
	ours := w.owner(cni.Attachment{}).Network
	if err := s.run(w.t.Context(), func(h *held) bool { return h.owner().Short().Network == ours }); err != nil {
		w.t.Error(err)
	}
	return swept
}

func (w *sweepingWorld) owner(a cni.Attachment) nft.Owner {
	return nft.Owner{Network: w.n.Name(), ContainerID: a.ContainerID, IfName: a.IfName}.Short()
}

// Whoever is attached between a look at the leases and one at the rules keeps its rules, also if its name is too long
// for them.
func TestSweepingSparesWhoCameMeanwhile(t *testing.T) {
	for name, c := range ofLength() {
		t.Run(name, func(t *testing.T) {
			w := newSweepingWorld(t, c[0])
			w.add("earlier")
			before := w.node()
			a, res := w.add(c[1])
			if err := before.readRules(); err != nil {
				t.Fatal(err)
			}
			before.owned[w.owner(a)].gone = true
			swept := w.sweep(before)
			if err := cni.Check(t.Context(), w.n, a, res); swept != nil || err != nil {
				t.Errorf("swept %q, and CHECK says: %v", swept, err)
			}
		})
	}
}

// One that comes back after that keeps them too, and isn't told.
func TestSweepingSparesWhoComesBack(t *testing.T) {
	w := newSweepingWorld(t, "sweep")
	a, res := w.add("c1")
	n := w.node()
	now, err := readLinks()
	if err != nil {
		t.Fatal(err)
	}
	defer now.close()
	s := sweeping{node: n, done: func(h *held) { t.Errorf("%s is told", h.owner()) }}
	if err := s.remove(n.owned[w.owner(a)], now); err != nil {
		t.Error(err)
	}
	if err := cni.Check(t.Context(), w.n, a, res); err != nil {
		t.Error(err)
	}
}

// Rules are swept whose owner's link and lease are gone.
func TestSweepingOfTheDead(t *testing.T) {
	for name, c := range ofLength() {
		t.Run(name, func(t *testing.T) {
			w := newSweepingWorld(t, c[0])
			w.add("earlier")
			a, res := w.add(c[1])
			nstest.Run(t, a.NetNS, "ip", "link", "delete", "eth0")
			if err := os.Remove(filepath.Join(w.dir, c[0], res.IPs[0].Address.Addr().String())); err != nil {
				t.Fatal(err)
			}
			if swept := w.sweep(w.node()); len(swept) != 1 || swept[0].Short() != w.owner(a) {
				t.Errorf("swept %q", swept)
			}
			if n := w.node(); n.owned[w.owner(a)] != nil && n.owned[w.owner(a)].element {
				t.Error("its rules are left")
			}
		})
	}
}

// What is restored is of who still lives: another container may have the address by then.
func TestSyncRestoresWhoStillLives(t *testing.T) {
	w := newSweepingWorld(t, "sync")
	file := filepath.Join(t.TempDir(), "sync.conf")
	if err := os.WriteFile(file, w.conf, 0o600); err != nil {
		t.Fatal(err)
	}
	confs, err := readConfs([]string{file}, "", false)
	if err != nil {
		t.Fatal(err)
	}
	stays, stayed := w.add("c1")
	ends, ended := w.add("c2")
	before := w.node()
	if err := cni.Detach(t.Context(), w.n, ends); err != nil {
		t.Fatal(err)
	}
	next, res := w.add("c3", ended.IPs[0].Address.Addr())
	rules, err := nft.Dial()
	if err != nil {
		t.Fatal(err)
	}
	defer rules.Close()
	if err := rules.DetachOwner(w.owner(stays)); err != nil {
		t.Fatal(err)
	}
	var out strings.Builder
	s := syncing{confs: confs, out: &out, dirs: []string{w.dir}, node: before, rules: rules}
	if err := s.restore(t.Context()); err != nil {
		t.Error(err)
	}
	if want := "sync/c1/eth0: restored masquerade of 10.94.0.2/24\n"; out.String() != want {
		t.Errorf("told %q, want %q", out.String(), want)
	}
	if err := errors.Join(cni.Check(t.Context(), w.n, stays, stayed), cni.Check(t.Context(), w.n, next, res)); err != nil {
		t.Error(err)
	}
}
