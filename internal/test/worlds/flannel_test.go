// SPDX-License-Identifier: Apache-2.0

//go:build worlds

package worlds_test

import (
	"fmt"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/swiftcni/swiftcni/internal/test/box"
)

// flannelNetwork is what flannel's own installer writes: its plugin completes bridge's
// configuration, and has bridge and host-local make the attachment.
const flannelNetwork = `{ "cniVersion": "0.3.1", "name": "cbr0", "plugins": [
  { "type": "flannel", "delegate": { "hairpinMode": true, "isDefaultGateway": true } },
  { "type": "portmap", "capabilities": { "portMappings": true } } ] }`

// Two nodes, whose pods reach each other by flannel's engine. It makes bridge and host-local
// swiftcni's.
func TestFlannel(t *testing.T) {
	for _, backend := range []string{"vxlan", "host-gw"} {
		t.Run(backend, func(t *testing.T) { twoNodes(t, backend) })
	}
}

func twoNodes(t *testing.T, backend string) {
	c := newFlannel(t, backend, func(host *containerd, plugin string) { host.use(pluginsAnd(t, plugin)) })
	c.deploy("web", 6, 0)
	c.settled("web", 6)
	ends := c.ends("web")
	c.wantAcross(ends)
	c.wantService(ends["n1"][0], c.service("web"))
	c.deploy("published", 2, 8080) // one on each node, which has one such port
	c.settled("published", 2)
	for _, n := range c.nodes {
		n.wantPage(theOutside, box.BoxIPv4, "8080")
	}
	c.kubectl("delete", "deployment", "published", "--wait")
	t.Logf("%s: 12 pods on two nodes are ready after %v", backend, c.scale("web", 12).Round(10*time.Millisecond))
	t.Logf("%s: 12 pods are gone after %v", backend, c.scale("web", 0).Round(10*time.Millisecond))
	for _, n := range c.nodes {
		n.wantNothing("scaled to none")
	}
}

// newFlannel starts a cluster on two nodes with flannel. Each is given its plugins, of which one is flannel's own.
func newFlannel(t *testing.T, backend string, equip func(host *containerd, plugin string)) *cluster {
	t.Helper()
	programs := buildFlannel(t)
	var hosts [2]*containerd
	for i := range hosts {
		hosts[i] = newContainerd(t, "")
		equip(hosts[i], filepath.Join(programs, "flannel"))
		hosts[i].do("rm", "/etc/cni/net.d/10-pods.conflist")
		hosts[i].write("/etc/cni/net.d/10-flannel.conflist", flannelNetwork)
	}
	wire(t, hosts[0].host, hosts[1].host)
	c := newCluster(t, hosts[0], "10.250.0.1")
	c.join(hosts[1], "10.250.0.2")
	for _, n := range c.nodes {
		// Flanneld ends if its node has no subnet within three seconds. In a cluster somebody starts it again.
		eventually(t, "a subnet for "+n.name, func() bool {
			out, err := c.try("get", "node", n.name, "-o", "jsonpath={.spec.podCIDR}")
			return err == nil && out != ""
		})
		n.do("mkdir", "-p", "/run/flannel")
		n.write("/run/flannel/net.json", fmt.Sprintf(`{ "Network": "10.244.0.0/16", "Backend": { "Type": %q } }`, backend))
		t.Cleanup(n.daemon("env", "NODE_NAME="+n.name, programs+"/flanneld", "-kube-subnet-mgr", "-kubeconfig-file=/run/kubeconfig",
			"-net-config-path=/run/flannel/net.json", "-iface="+wireLink, "-ip-masq"))
	}
	c.ready()
	return c
}

// ends are a pod of a deployment and its address, by node.
func (c *cluster) ends(name string) map[string][2]string {
	c.t.Helper()
	ends := map[string][2]string{}
	for _, p := range c.podsOf(name, ".spec.nodeName} {.status.podIP") {
		node, address, _ := strings.Cut(p[1], " ")
		ends[node] = [2]string{p[0], address}
	}
	if len(ends) != len(c.nodes) {
		c.t.Fatalf("pods of %s are on %v, not on all nodes", name, ends)
	}
	return ends
}

// wantAcross has a pod of each of two nodes ping the other's.
func (c *cluster) wantAcross(ends map[string][2]string) {
	c.t.Helper()
	for from, to := range map[string]string{"n1": "n2", "n2": "n1"} {
		eventually(c.t, from+" to reach "+to, func() bool {
			out, err := c.try("exec", ends[from][0], "--", "ping", "-c1", "-W2", ends[to][1])
			return err == nil && strings.Contains(out, " 0% packet loss")
		})
	}
}
