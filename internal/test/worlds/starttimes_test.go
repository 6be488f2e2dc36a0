// SPDX-License-Identifier: Apache-2.0

//go:build worlds

package worlds_test

import (
	"math/rand/v2"
	"slices"
	"testing"
	"time"
)

func TestPodmanStartTimes(t *testing.T) {
	p := newPodman(t)
	p.createNetwork("front", "10.89.7.0/24", "fd00:89:7::/64")
	p.startTimes("podman run -p, podman rm", func(networked bool) {
		if networked {
			p.run("p1", "--network", "front", "-p", "8081:80")
		} else {
			p.run("p1", "--network", "none")
		}
	}, func() {
		p.remove("p1")
	})
}

func TestContainerdStartTimes(t *testing.T) { podStartTimes(newContainerd(t, "")) }

func TestContainerd2StartTimes(t *testing.T) { podStartTimes(newContainerd2(t)) }

func podStartTimes(c *containerd) {
	t := c.t
	var p pod
	c.startTimes("RunPodSandbox with a port, StopPodSandbox and RemovePodSandbox", func(networked bool) {
		config := podConfig("p", 8080)
		if !networked {
			const node = 2 // the host's own network
			config = podConfig("p", 0).nest(8, message{}.nest(2, message{}.nest(1, message{}.number(1, node))))
		}
		c.begin(func() (err error) {
			p, err = c.run(config)
			return err
		}, func() error { return nil })
	}, func() {
		if err := c.end(p); err != nil {
			t.Fatal(err)
		}
	})
}

// rounds is how often each is started; the first time isn't counted, since it makes bridges and
// base chains.
const rounds = 15

// startTimes tells how long a start and a removal take without a network, with the reference's
// plugins, and with swiftcni in their place, without and with a resident, in turns. Nothing is judged by it: a few rounds on a
// busy machine are a hint.
func (h *host) startTimes(what string, start func(networked bool), end func()) {
	h.t.Helper()
	contestants := []struct {
		name, plugins       string
		networked, resident bool
	}{
		{"no network", swiftcni, false, false}, {"the reference", reference(h.t), true, false},
		{"swiftcni", swiftcni, true, false}, {"swiftcni by a resident", swiftcni, true, true},
	}
	starts, ends := make([][]time.Duration, len(contestants)), make([][]time.Duration, len(contestants))
	for round := range rounds + 1 {
		for _, i := range rand.Perm(len(contestants)) {
			c := contestants[i]
			h.use(c.plugins)
			var r *resident
			if c.resident {
				r = h.reside()
			}
			begun := time.Now()
			start(c.networked)
			started := time.Now()
			end()
			if round > 0 {
				starts[i] = append(starts[i], started.Sub(begun))
				ends[i] = append(ends[i], time.Since(started))
			}
			if r != nil {
				r.end("TERM")
			}
		}
	}
	for i, c := range contestants {
		h.t.Logf("%s, with %s: start %v, removal %v", what, c.name, median(starts[i]), median(ends[i]))
	}
}

func median(list []time.Duration) time.Duration {
	slices.Sort(list)
	return list[len(list)/2].Round(time.Millisecond)
}
