// SPDX-License-Identifier: Apache-2.0

//go:build worlds

package worlds_test

import (
	"slices"
	"testing"

	"github.com/swiftcni/swiftcni/internal/test/box"
)

// killed runs what podman shall do, and kills a program while the driver waits for the leases of the network
// front. When everything has ended it returns podman's error.
func (p *podman) killed(victim string, do func() error) error {
	p.t.Helper()
	release := p.hold("front")
	done := make(chan error, 1)
	go func() { done <- do() }()
	p.held("front", 1)
	p.do("pkill", "-KILL", "-x", victim) // the box's own
	release()
	err := <-done
	eventually(p.t, "what wasn't killed to end", func() bool { _, err := p.Run("pgrep", "-x", "netavark|swiftcni"); return err != nil })
	return err
}

// The driver, netavark or podman is killed while a container starts, and while one is removed. What podman
// still knows of is gone once it's removed, and what it has forgotten when its namespace has ended.
func TestPodman5Killed(t *testing.T) {
	p := newPodman5(t)
	p.podman("network", "create", "--driver", "swiftcni", "--opt", "ipam=swiftcni", "--subnet", "10.89.7.0/24", "front")
	p.run("p0", "--network", "front") // makes the directory of leases
	own := p.names("/run/netns", "netns-*")
	options := []string{"--network", "front", "-p", "8081:80"}
	again := func(when string) {
		t.Helper()
		p.run("p1", options...)
		p.wantPage(theOutside, box.BoxIPv4, "8081")
	}
	for _, victim := range []string{"swiftcni", "netavark", "podman"} {
		when := victim + " was killed during a start"
		if err := p.killed(victim, func() error { return p.try(web("p1", options...)...) }); err == nil {
			t.Errorf("%s: podman says nothing", when)
		}
		p.remove("p1")
		if victim == "podman" {
			// It's the only one that knows the namespace, and none has written it down.
			for _, left := range slices.DeleteFunc(p.names("/run/netns", "netns-*"), func(name string) bool { return slices.Contains(own, name) }) {
				p.do("nsenter", "-t", p.do("cat", "/run/podman5"), "-m", "--", "sh", "-c", `umount "$0" && rm "$0"`, "/run/netns/"+left)
			}
			p.await("the link to end with its namespace", func() bool { return len(p.ports()) == 1 })
		} else {
			p.wantAttached(when, 1, "10.89.7.2")
		}
		again(when) // the port is free, or a dead container's
		p.remove("p1")
		p.do(swiftctl, "gc")
		p.wantAttached(when, 1, "10.89.7.2")
	}
	for _, victim := range []string{"swiftcni", "netavark", "podman"} {
		when := victim + " was killed during a removal"
		p.run("p1", options...)
		// Conmon has another podman clean up when the container ends, and that one may be who hears of it.
		_ = p.killed(victim, func() error { return p.rm("p1") })
		p.remove("p1") // podman may have forgotten it
		again(when)
		p.remove("p1")
		p.do(swiftctl, "gc")
		p.wantAttached(when, 1, "10.89.7.2")
	}
	p.remove("p0")
	p.wantNothing("all are removed")
}
