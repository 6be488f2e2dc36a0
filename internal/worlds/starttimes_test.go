// SPDX-License-Identifier: Apache-2.0

//go:build worlds

package worlds_test

import (
	"slices"
	"testing"
	"time"
)

func TestPodmanStartTimes(t *testing.T) {
	p := newPodman(t)
	p.createNetwork("front", "10.89.7.0/24", "fd00:89:7::/64")
	p.startTimes("podman run -p, podman rm", 5, func() {
		p.run("p1", "--network", "front", "-p", "8081:80")
	}, func() {
		p.remove("p1")
	})
}

func TestContainerdStartTimes(t *testing.T) { podStartTimes(newContainerd(t, "")) }

func TestContainerd2StartTimes(t *testing.T) { podStartTimes(newContainerd2(t)) }

func podStartTimes(c *containerd) {
	t := c.t
	var p pod
	c.startTimes("RunPodSandbox with a port, StopPodSandbox and RemovePodSandbox", 7, func() {
		p = c.start("p", 8080)
	}, func() {
		if err := c.end(p); err != nil {
			t.Fatal(err)
		}
	})
}

// startTimes tells how long a start takes with the reference's plugins and with swiftcni in their place, in turns.
// Nothing is judged by it: a few rounds on a busy machine are a hint.
func (h *host) startTimes(what string, rounds int, start, end func()) {
	h.t.Helper()
	contestants := []struct{ name, plugins string }{{"reference", reference(h.t)}, {"swiftcni", swiftcni}}
	starts, ends := make([][]time.Duration, len(contestants)), make([][]time.Duration, len(contestants))
	for round := range rounds + 1 {
		for i, c := range contestants {
			h.use(c.plugins)
			begun := time.Now()
			start()
			started := time.Now()
			end()
			// The first round makes bridges and base chains.
			if round > 0 {
				starts[i] = append(starts[i], started.Sub(begun))
				ends[i] = append(ends[i], time.Since(started))
			}
		}
	}
	for i, c := range contestants {
		h.t.Logf("%s with %s: start %v, removal %v", what, c.name, median(starts[i]), median(ends[i]))
	}
	h.use(swiftcni)
}

func median(list []time.Duration) time.Duration {
	slices.Sort(list)
	return list[len(list)/2].Round(time.Millisecond)
}
