// SPDX-License-Identifier: Apache-2.0

//go:build worlds

package worlds_test

import (
	"fmt"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/swiftcni/swiftcni/internal/test/box"
)

// A cluster is Kubernetes, whose control plane runs on its first node.
type cluster struct {
	t        *testing.T
	programs string
	server   string // the first node's address
	nodes    []*node
}

// A node is a host with containerd, kubelet and kube-proxy.
type node struct {
	*containerd
	name, address string
}

// kubeconfig is the same for everybody: whoever has the token may do anything.
const kubeconfig = `{ "apiVersion": "v1", "kind": "Config", "current-context": "c",
  "clusters": [ { "name": "c", "cluster": { "server": "https://%s:6443", "insecure-skip-tls-verify": true } } ],
  "users": [ { "name": "u", "user": { "token": "tok" } } ],
  "contexts": [ { "name": "c", "context": { "cluster": "c", "user": "u" } } ] }`

// proxyConfig leaves alone what's the whole machine's.
const proxyConfig = `
apiVersion: kubeproxy.config.k8s.io/v1alpha1
kind: KubeProxyConfiguration
mode: nftables
clusterCIDR: 10.244.0.0/16
hostnameOverride: %s
conntrack: {maxPerCore: 0, min: 0, tcpEstablishedTimeout: 0s, tcpCloseWaitTimeout: 0s}
clientConnection: {kubeconfig: /run/kubeconfig}
`

// newCluster starts a control plane on a host, as its first node.
func newCluster(t *testing.T, first *containerd, address string) *cluster {
	t.Helper()
	c := &cluster{t: t, programs: buildKubernetes(t), server: address}
	dir := filepath.Join(first.scratch, "control")
	makeDir(t, dir)
	first.do("openssl", "genrsa", "-out", dir+"/key", "2048")
	first.write("/run/tokens", "tok,admin,admin,system:masters\n")
	first.write("/run/kubeconfig", fmt.Sprintf(kubeconfig, address))
	start := func(name string, args ...string) { t.Cleanup(first.daemon(name, args...)) }
	start("etcd", "--data-dir", dir+"/etcd", "--unsafe-no-fsync", "--listen-peer-urls", "http://127.0.0.1:2380")
	start(c.programs+"/kube-apiserver", "--etcd-servers=http://127.0.0.1:2379", "--service-cluster-ip-range=10.96.0.0/16",
		"--advertise-address="+address, "--bind-address="+address, "--cert-dir="+dir+"/certs", "--token-auth-file=/run/tokens",
		"--authorization-mode=AlwaysAllow", "--allow-privileged", "--service-account-key-file="+dir+"/key", "--service-account-signing-key-file="+dir+"/key",
		"--service-account-issuer=https://k", "--disable-admission-plugins=ServiceAccount", "--kubelet-preferred-address-types=InternalIP")
	c.nodes = []*node{{first, "n1", address}}
	eventually(t, "the API server", func() bool {
		out, err := c.try("get", "--raw", "/readyz")
		return err == nil && out == "ok"
	})
	start(c.programs+"/kube-controller-manager", "--kubeconfig=/run/kubeconfig", "--service-account-private-key-file="+dir+"/key",
		"--leader-elect=false", "--allocate-node-cidrs", "--cluster-cidr=10.244.0.0/16")
	start(c.programs+"/kube-scheduler", "--kubeconfig=/run/kubeconfig", "--leader-elect=false")
	c.run(c.nodes[0])
	return c
}

// join adds a host.
func (c *cluster) join(host *containerd, address string) {
	c.t.Helper()
	n := &node{host, fmt.Sprint("n", len(c.nodes)+1), address}
	n.write("/run/kubeconfig", fmt.Sprintf(kubeconfig, c.server))
	c.nodes = append(c.nodes, n)
	c.run(n)
}

// run starts what every node has.
func (c *cluster) run(n *node) {
	c.t.Helper()
	n.do("sysctl", "-qw", "net.ipv4.ip_forward=1")
	n.startKubelet(c.programs+"/kubelet", n.name, n.address, "--kubeconfig=/run/kubeconfig")
	n.write("/run/proxy.yaml", fmt.Sprintf(proxyConfig, n.name))
	c.t.Cleanup(n.daemon(c.programs+"/kube-proxy", "--config=/run/proxy.yaml"))
}

// try is kubectl on the first node.
func (c *cluster) try(args ...string) (string, error) {
	return c.nodes[0].Run(c.programs+"/kubectl", append([]string{"--kubeconfig=/run/kubeconfig", "--request-timeout=1m"}, args...)...)
}

func (c *cluster) kubectl(args ...string) string {
	c.t.Helper()
	return c.nodes[0].do(c.programs+"/kubectl", append([]string{"--kubeconfig=/run/kubeconfig", "--request-timeout=" + hang.String()}, args...)...)
}

// ready waits for all nodes.
func (c *cluster) ready() {
	c.t.Helper()
	eventually(c.t, "the nodes to be ready", func() bool {
		out, err := c.try("get", "nodes", "--no-headers")
		return err == nil && strings.Count(out, " Ready ") == len(c.nodes)
	})
}

// deployment runs pods that serve page on port 80, by their sandbox. hostPort 0 is none.
const deployment = `{ "apiVersion": "apps/v1", "kind": "Deployment", "metadata": { "name": "%[1]s" }, "spec": {
  "replicas": %[2]d, "selector": { "matchLabels": { "app": "%[1]s" } },
  "template": { "metadata": { "labels": { "app": "%[1]s" } }, "spec": {
    "automountServiceAccountToken": false, "terminationGracePeriodSeconds": 0,
    "topologySpreadConstraints": [ { "maxSkew": 1, "topologyKey": "kubernetes.io/hostname", "whenUnsatisfiable": "DoNotSchedule",
      "labelSelector": { "matchLabels": { "app": "%[1]s" } } } ],
    "containers": [ { "name": "main", "image": "localhost/web:1", "imagePullPolicy": "Never", "command": [ "/bin/sleep", "100000" ],
      "ports": [ { "containerPort": 80%[3]s } ] } ] } } } }`

func (c *cluster) deploy(name string, replicas, hostPort int) {
	c.t.Helper()
	port := ""
	if hostPort != 0 {
		port = fmt.Sprintf(`, "hostPort": %d`, hostPort)
	}
	c.nodes[0].write("/run/deployment.json", fmt.Sprintf(deployment, name, replicas, port))
	c.kubectl("apply", "-f", "/run/deployment.json")
}

// scale changes a deployment's size, and returns how long it took until all pods are ready, or gone
// from every node.
func (c *cluster) scale(name string, replicas int) time.Duration {
	c.t.Helper()
	begun := time.Now()
	c.kubectl("scale", "deployment", name, "--replicas="+strconv.Itoa(replicas))
	c.settled(name, replicas)
	return time.Since(begun)
}

func (c *cluster) settled(name string, replicas int) {
	c.t.Helper()
	if replicas == 0 {
		c.empty()
		return
	}
	eventually(c.t, fmt.Sprintf("%d pods of %s", replicas, name), func() bool {
		out, err := c.try("get", "deployment", name, "-o", "jsonpath={.status.readyReplicas} {.status.replicas}")
		return err == nil && out == fmt.Sprintf("%d %[1]d", replicas)
	})
}

// empty waits until no node has a pod's lease, link or result.
func (c *cluster) empty() {
	c.t.Helper()
	for _, n := range c.nodes {
		eventually(c.t, "all pods of "+n.name+" to be detached", func() bool {
			return len(n.leases()) == 0 && len(n.ports()) == 0 && len(n.names("/var/lib/cni/results", "*")) == 0
		})
	}
}

// service gives a deployment's port 80 an address of the cluster's, which it returns.
func (c *cluster) service(name string) (address string) {
	c.t.Helper()
	c.kubectl("expose", "deployment", name, "--port=80")
	return c.kubectl("get", "service", name, "-o", "jsonpath={.spec.clusterIP}")
}

// podsOf lists a deployment's pods with a field of each.
func (c *cluster) podsOf(name, field string) (pods [][2]string) {
	c.t.Helper()
	out := c.kubectl("get", "pods", "-l", "app="+name, "-o", "jsonpath={range .items[*]}{.metadata.name} {"+field+"}{\"\\n\"}{end}")
	for line := range strings.Lines(out) {
		pod, value, _ := strings.Cut(strings.TrimSpace(line), " ")
		pods = append(pods, [2]string{pod, value})
	}
	return pods
}

// wantService fetches page by a service from every node, and from a pod.
func (c *cluster) wantService(pod, address string) {
	c.t.Helper()
	for _, n := range c.nodes {
		eventually(c.t, "kube-proxy of "+n.name, func() bool {
			got, err := n.get("5", theHost, address, "80")
			return err == nil && strings.HasSuffix(got, page)
		})
	}
	eventually(c.t, "the service to answer a pod", func() bool {
		out, err := c.try("exec", pod, "--", "sh", "-c", `printf 'GET / HTTP/1.0\r\n\r\n' | nc -w 5 `+address+" 80")
		return err == nil && strings.HasSuffix(strings.TrimSpace(out), page)
	})
}

// A whole cluster on one node: what its users do.
func TestKubernetes(t *testing.T) {
	n := newContainerd(t, "")
	c := newCluster(t, n, box.BoxIPv4)
	c.ready()
	c.deploy("web", 3, 0)
	c.deploy("published", 1, 8080)
	c.settled("web", 3)
	c.settled("published", 1)
	n.wantPage(theOutside, box.BoxIPv4, "8080")
	n.wantPage(theHost, box.BoxIPv4, "8080")
	c.wantService(c.podsOf("web", ".status.podIP")[0][0], c.service("web"))
	if rules := n.do("nft", "list", "tables"); !strings.Contains(rules, "kube-proxy") || !strings.Contains(rules, "inet swiftcni") {
		t.Errorf("both kube-proxy's table and ours should be there:\n%s", rules)
	}
	// How long pods take, with the reference's plugins and with swiftcni, on the same node.
	c.kubectl("delete", "deployment", "published", "--wait")
	for _, with := range []struct{ name, plugins string }{{"the reference", reference(t)}, {"swiftcni", swiftcni}} {
		c.scale("web", 0)
		n.use(with.plugins)
		for _, count := range []int{1, 6, 20} {
			up := c.scale("web", count)
			t.Logf("with %s: %d pods are ready after %v", with.name, count, up.Round(10*time.Millisecond))
			down := c.scale("web", 0)
			t.Logf("with %s: %d pods are gone after %v", with.name, count, down.Round(10*time.Millisecond))
			if with.plugins == swiftcni {
				n.wantNothing(fmt.Sprintf("%d pods are gone", count))
			}
		}
	}
	c.kubectl("delete", "deployment", "web", "--wait")
	c.empty()
	n.wantNothing("all is deleted")
}
