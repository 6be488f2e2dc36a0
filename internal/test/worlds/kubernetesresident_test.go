// SPDX-License-Identifier: Apache-2.0

//go:build worlds

package worlds_test

import (
	"strconv"
	"strings"
	"testing"

	"github.com/swiftcni/swiftcni/internal/test/box"
)

// ask asks for another size of a deployment, and waits for nothing.
func (c *cluster) ask(name string, replicas int) {
	c.t.Helper()
	c.kubectl("scale", "deployment", name, "--replicas="+strconv.Itoa(replicas))
}

// Pods come and go on a node whose resident is replaced by another version, and killed. kubelet
// tries again by itself.
func TestKubernetesByResident(t *testing.T) {
	next := nextSwiftctl(t)
	n := newContainerd2(t)
	recorded := n.record()
	r := n.reside()
	c := newCluster(t, n, box.BoxIPv4)
	c.ready()
	c.deploy("web", 3, 0)
	c.deploy("published", 1, 8080)
	c.settled("web", 3)
	c.settled("published", 1)
	n.wantPage(theOutside, box.BoxIPv4, "8080")
	c.wantService(c.podsOf("web", ".status.podIP")[0][0], c.service("web"))
	c.scale("web", 6)
	c.scale("web", 2)
	// containerd asks for the state again and again.
	r.wantAll("a usual day", recorded, "STATUS")
	n.await("containerd asks for the state", func() bool { return r.calls("STATUS") > 0 })

	replace := func(by string) {
		earlier := r
		r = n.resideBy(by)
		earlier.end("TERM")
	}
	kill := func(by string) {
		r.end("KILL")
		r = n.resideBy(by)
	}
	// Replaced while pods start, and while they stop.
	for _, step := range []struct {
		verb, by string
		pods     int
	}{{"ADD", next, 10}, {"DEL", swiftctl, 2}} {
		before := r.calls(step.verb)
		c.ask("web", step.pods)
		n.await("the resident makes calls", func() bool { return r.calls(step.verb) > before })
		replace(step.by)
		c.settled("web", step.pods)
	}
	// Killed while calls run for certain: they wait for the leases.
	for _, step := range []struct {
		by   string
		pods int
	}{{next, 8}, {swiftctl, 2}} {
		release := n.hold("pods")
		c.ask("web", step.pods)
		n.held("pods", 2)
		kill(step.by)
		release()
		c.settled("web", step.pods)
	}
	// Killed at any moment.
	for range 3 {
		for _, step := range []struct {
			verb string
			pods int
		}{{"ADD", 10}, {"DEL", 2}} {
			before := r.calls(step.verb)
			c.ask("web", step.pods)
			n.await("the resident makes calls", func() bool { return r.calls(step.verb) > before })
			kill(next)
			c.settled("web", step.pods)
		}
	}
	c.wantService(c.podsOf("web", ".status.podIP")[0][0], c.kubectl("get", "service", "web", "-o", "jsonpath={.spec.clusterIP}"))
	if phases := c.kubectl("get", "pods", "-o", "jsonpath={.items[*].status.phase}"); strings.Contains(phases, "Failed") {
		t.Errorf("pods have failed: %s", phases)
	}
	// kubelet was told of nothing but the kills.
	told := c.kubectl("get", "events", "--field-selector=reason=FailedCreatePodSandBox", "-o", `jsonpath={range .items[*]}{.message}{"\n"}{end}`)
	if !strings.Contains(told, died) {
		t.Error("no pod's start was interrupted")
	}
	for line := range strings.Lines(told) {
		if strings.TrimSpace(line) != "" && !strings.Contains(line, died) {
			t.Errorf("a pod wasn't started: %s", line)
		}
	}
	c.kubectl("delete", "deployment", "web", "published", "--wait")
	c.empty()
	n.wantNothing("all is deleted")
}
