// SPDX-License-Identifier: Apache-2.0

package cni

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"sync"
	"testing"
)

// secondNetwork attaches c1 to another network, and returns portmap's part of it.
func (w *portWorld) secondNetwork(t *testing.T, mappings string) (*Network, Attachment, *Result) {
	t.Helper()
	other := networkNamed(t, "second", `"bridge": "brsecond", "isGateway": true, "hairpinMode": true, "ipam": { "type": "host-local", "ranges": [[{"subnet": "10.10.0.0/16"}], [{"subnet": "fd00:10::/64"}]], "dataDir": "DIR" }`)
	a := w.containers["c1"]
	a.IfName = "eth1"
	res, err := Attach(t.Context(), other, a)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = Detach(context.Background(), other, a) })
	prev, err := json.Marshal(res)
	if err != nil {
		t.Fatal(err)
	}
	return portmapConf(t, other.conf.Name, "", mappings, string(prev)), a, res
}

// A container on two networks has the same ports in both, as podman and nerdctl ask for them, one after the other or at once. The one
// that's left serves them.
func TestPortsOfAContainerOnTwoNetworks(t *testing.T) {
	for _, atOnce := range []bool{false, true} {
		t.Run(fmt.Sprint("at once ", atOnce), func(t *testing.T) { portsOnTwoNetworks(t, atOnce) })
	}
}

func portsOnTwoNetworks(t *testing.T, atOnce bool) {
	w := newPortWorld(t)
	first, a := w.conf(t, "c1", "", mapped), w.containers["c1"]
	second, b, res := w.secondNetwork(t, mapped)
	var errs [2]error
	var wg sync.WaitGroup
	add := func(i int, n *Network, a Attachment) {
		wg.Go(func() { _, errs[i] = portmapRoom.add(t.Context(), n, a) })
		if !atOnce {
			wg.Wait()
		}
	}
	add(0, first, a)
	add(1, second, b)
	wg.Wait()
	answers := func(why string, want string) {
		t.Helper()
		for _, to := range []string{hostOutside4 + ":8080", "[" + hostOutside6 + "]:8080", "198.51.100.9:9090"} {
			want := want
			if to == "198.51.100.9:9090" && want != "" {
				want = "c1:81"
			}
			if got := portAnswer(t, w.outside, "tcp", to); got != want {
				t.Errorf("%s: %s: got %q, want %q", why, to, got, want)
			}
		}
	}
	check := func() error {
		return errors.Join(portmapRoom.check(t.Context(), first, a, w.results["c1"]), portmapRoom.check(t.Context(), second, b, res))
	}
	if err := errors.Join(errs[0], errs[1], check()); err != nil {
		t.Fatal(err)
	}
	answers("both", "c1:80")
	if err := portmapRoom.del(t.Context(), first, a); err != nil {
		t.Error(err)
	}
	if err := portmapRoom.check(t.Context(), second, b, res); err != nil {
		t.Error(err)
	}
	answers("one", "c1:80")
	if got := portAnswer(t, "", "tcp", "127.0.0.1:8080"); got != "c1:80" {
		t.Errorf("by 127.0.0.1: got %q", got)
	}
	if err := portmapRoom.del(t.Context(), second, b); err != nil {
		t.Error(err)
	}
	answers("none", "")
	if left := portOwners(t); left != "" {
		t.Errorf("left: %s", left)
	}
}
