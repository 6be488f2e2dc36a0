// SPDX-License-Identifier: Apache-2.0

package worlds_test

import (
	"fmt"
	"strconv"
	"strings"
	"sync"
	"testing"

	"github.com/swiftcni/swiftcni/internal/test/box"
)

// newFront is a podman with the networks front and back.
func newFront(t *testing.T) *podman {
	t.Helper()
	p := newPodman(t)
	p.createNetwork("front", "10.89.7.0/24", "fd00:89:7::/64")
	p.createNetwork("back", "10.89.8.0/24", "fd00:89:8::/64")
	return p
}

// front is the command that runs a container with a published port.
func front(name string, port int) []string {
	return web(name, "--network", "front", "-p", fmt.Sprintf("%d:80", port))
}

// wantClean wants nothing to be left of any container, podman's namespaces included.
func (p *podman) wantClean(when string) {
	p.t.Helper()
	p.wantNothing(when)
	if left := p.names("/run/netns", "netns-*"); len(left) > 0 {
		p.t.Errorf("%s: the namespaces %q are left", when, left)
	}
}

// Whatever podman does, the resident makes each of its plugins' calls: none is sent back.
func TestPodmanByResident(t *testing.T) {
	p := newFront(t)
	recorded := p.record()
	r := p.reside()
	p.run("p1", "--network", "front", "-p", "8081:80")
	p.wantPage(theOutside, box.BoxIPv4, "8081")
	p.podman("network", "connect", "back", "p1")
	p.run("p2", "--network", "back")
	p.reaches("p2", "10.89.8.2")
	p.podman("network", "disconnect", "back", "p1")
	p.podman("stop", "-t", "0", "p1")
	p.wantNoPage(theOutside, box.BoxIPv4, "8081")
	for _, again := range [][]string{{"start", "p1"}, {"restart", "-t", "0", "p1"}} {
		if err := p.try(again...); err != nil {
			t.Fatal(err)
		}
		p.wantPage(theOutside, box.BoxIPv4, "8081")
	}
	const count = 4
	p.atOnce(count, func(i int) error { return p.try(front(fmt.Sprint("q", i), 9000+i)...) })
	for i := range count {
		p.wantPage(theOutside, box.BoxIPv4, strconv.Itoa(9000+i))
	}
	p.atOnce(count, func(i int) error { return p.rm(fmt.Sprint("q", i)) })
	p.remove("p1", "p2")
	p.wantClean("all are removed")
	r.wantAll("podman's day", recorded)
	if r.calls("VERSION") == 0 {
		t.Error("podman asked for no version")
	}

	// A resident in another mount namespace, such as systemd's PrivateTmp= makes, sends each call back.
	apart := p.resideBy("unshare", "--mount", swiftctl)
	r.end("TERM")
	p.run("p1", "--network", "front", "-p", "8081:80")
	p.wantPage(theOutside, box.BoxIPv4, "8081")
	if said, err := p.Run(swiftctl, "doctor"); err == nil || !strings.Contains(said, "resident-apart") {
		t.Errorf("swiftctl doctor says %v\n%s", err, said)
	}
	p.remove("p1")
	p.wantClean("p1 is removed")
	if made := apart.made(); len(made) > 0 {
		t.Errorf("a resident elsewhere made the calls %v", made)
	}
}

// rm removes a container, whether it runs or was only made.
func (p *podman) rm(name string) error {
	_, err := p.Run("env", append(p.env[:len(p.env):len(p.env)], "rm", "-f", "-t", "0", name)...)
	return err
}

// atOnce does something so many times at once.
func (p *podman) atOnce(count int, do func(i int) error) {
	p.t.Helper()
	var all sync.WaitGroup
	for i := range count {
		all.Go(func() {
			if err := do(i); err != nil {
				p.t.Error(err)
			}
		})
	}
	all.Wait()
}

// The resident is killed in the middle of an ADD: only the podman whose call it was hears of it, and
// starts its container later.
func TestPodmanKillsTheResidentDuringAnAdd(t *testing.T) {
	p := newFront(t)
	p.run("p1", "--network", "front") // makes the directory of leases
	r := p.reside()
	release := p.hold("front")
	const count = 3
	var mu sync.Mutex
	var lost []int
	var all sync.WaitGroup
	for i := range count {
		all.Go(func() {
			err := p.try(front(fmt.Sprint("q", i), 9000+i)...)
			if err == nil {
				return
			}
			if !strings.Contains(err.Error(), died) {
				t.Error(err)
			}
			mu.Lock()
			defer mu.Unlock()
			lost = append(lost, i)
		})
	}
	p.held("front", 1) // podman has a lock of its own, so it's one at a time
	r.end("KILL")
	release()
	all.Wait()
	if len(lost) != 1 {
		t.Fatalf("%d of %d containers failed, want the one whose call ran", len(lost), count)
	}
	next := p.reside()
	if err := p.try("start", fmt.Sprint("q", lost[0])); err != nil {
		t.Error(err)
	}
	for i := range count {
		p.wantPage(theOutside, box.BoxIPv4, strconv.Itoa(9000+i))
	}
	if next.calls("ADD") == 0 {
		t.Error("the next resident made no call")
	}
	p.remove("p1", "q0", "q1", "q2")
	p.wantClean("all are removed")
}

// The resident is killed in the middle of a DEL. podman 4.3 forgets a container whose DEL failed, so
// it must not fail.
func TestPodmanKillsTheResidentDuringADel(t *testing.T) {
	p := newFront(t)
	const count = 3
	r := p.reside()
	p.atOnce(count, func(i int) error { return p.try(front(fmt.Sprint("q", i), 9000+i)...) })
	release := p.hold("front")
	var all sync.WaitGroup
	for i := range count {
		all.Go(func() {
			if err := p.rm(fmt.Sprint("q", i)); err != nil {
				t.Error(err)
			}
		})
	}
	p.held("front", 1)
	r.end("KILL")
	release()
	all.Wait()
	p.wantClean("all are removed")
}
