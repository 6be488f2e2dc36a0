// SPDX-License-Identifier: Apache-2.0

package worlds_test

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/swiftcni/swiftcni/internal/test/box"
)

// podNetwork is what an installer of Kubernetes would put into /etc/cni/net.d, of the latest
// version that containerd 1 reads.
const podNetwork = `{
  "cniVersion": "1.0.0",
  "name": "pods",
  "plugins": [
    { "type": "bridge", "bridge": "cni0", "isDefaultGateway": true, "ipMasq": true, "hairpinMode": true,
      "ipam": { "type": "host-local", "ranges": [ [ { "subnet": "10.85.0.0/24" } ], [ { "subnet": "fd00:85::/64" } ] ] } },
    { "type": "portmap", "capabilities": { "portMappings": true } },
    { "type": "bandwidth", "capabilities": { "bandwidth": true } }
  ]
}`

// A containerd is a host with containerd, as kubelet sees it.
type containerd struct {
	*host
	*cri
}

// containerdSocket is where it listens.
const containerdSocket = "/run/containerd/containerd.sock"

// newContainerd starts it from a directory of programs, or from PATH where that's empty, and brings
// the image localhost/web, which serves page and is the pods' sandbox too.
func newContainerd(t *testing.T, programs string) *containerd {
	t.Helper()
	h := newHost(t)
	h.write("/etc/cni/net.d/10-pods.conflist", podNetwork)
	config := fmt.Sprintf(`
version = 2
root = %q
[plugins."io.containerd.grpc.v1.cri"]
  sandbox_image = "localhost/web:1"
  disable_apparmor = true
  restrict_oom_score_adj = true
`, h.scratch+"/containerd")
	h.write("/run/containerd.toml", config)
	path := "PATH=" + programs + ":" + os.Getenv("PATH")
	end := h.daemon("env", path, "containerd", "-c", "/run/containerd.toml")
	t.Cleanup(func() {
		end()
		removeCgroups("k8s.io")
	})
	// Seen from outside, the path is short, as a socket's must be.
	socket := fmt.Sprintf("/proc/%d/root%s", h.PID(), containerdSocket)
	eventually(t, "containerd's socket", func() bool { _, err := os.Stat(socket); return err == nil })
	image := filepath.Join(h.scratch, "web.tar")
	// A sandbox with the host's network stays though another has the port.
	archive(t, image, "localhost/web:1", "/bin/sh", "-c", "httpd -p 80 -h /www; exec sleep 1000000")
	h.do("env", path, "ctr", "-n", "k8s.io", "images", "import", image)
	return &containerd{h, newCRI(socket)}
}

// A pod is one whose sandbox has been asked for.
type pod struct {
	id     string
	config message
}

// must calls a method that may not fail.
func (c *containerd) must(method string, request message) message {
	c.t.Helper()
	answer, err := c.call(method, request)
	if err != nil {
		c.t.Fatal(err)
	}
	return answer
}

// podConfig says what kubelet does of a pod. hostPort is that of its port 80, 0 is none.
func podConfig(name string, hostPort int, annotations ...string) message {
	config := message{}.nest(1, message{}.text(1, name).text(2, "uid-"+name).text(3, "default"))
	if hostPort != 0 {
		config = config.nest(5, message{}.number(2, 80).number(3, uint64(hostPort)))
	}
	for _, a := range annotations {
		key, value, _ := strings.Cut(a, "=")
		config = config.nest(7, message{}.text(1, key).text(2, value))
	}
	return config.nest(8, message{}.nest(2, nil))
}

// run runs a pod's sandbox, which serves page by itself.
func (c *containerd) run(config message) (pod, error) {
	answer, err := c.call("RunPodSandbox", message{}.nest(1, config))
	return pod{string(answer.field(1)), config}, err
}

// start runs one that may not fail.
func (c *containerd) start(name string, hostPort int, annotations ...string) pod {
	c.t.Helper()
	var p pod
	c.begin(func() (err error) {
		p, err = c.run(podConfig(name, hostPort, annotations...))
		return err
	}, func() error { return nil })
	return p
}

// end stops and removes a pod.
func (c *containerd) end(p pod) error {
	_, err := c.call("StopPodSandbox", message{}.text(1, p.id))
	if err == nil {
		_, err = c.call("RemovePodSandbox", message{}.text(1, p.id))
	}
	return err
}

// addresses are what kubelet is told: the first is the pod's, others follow.
func (c *containerd) addresses(p pod) (list []string) {
	c.t.Helper()
	network := c.must("PodSandboxStatus", message{}.text(1, p.id)).field(1).field(5)
	return []string{string(network.field(1)), string(network.field(2).field(1))}
}

// exec runs a command in a container of the pod, which is made for it, and returns what it printed.
func (c *containerd) exec(p pod, command ...string) string {
	c.t.Helper()
	container := message{}.nest(1, message{}.text(1, "main")).nest(2, message{}.text(1, "localhost/web:1")).
		text(3, "/bin/sleep").text(4, "1000").nest(15, message{}.nest(1, nil).nest(2, nil))
	id := string(c.must("CreateContainer", message{}.text(1, p.id).nest(2, container).nest(3, p.config)).field(1))
	c.must("StartContainer", message{}.text(1, id))
	request := message{}.text(1, id)
	for _, word := range command {
		request = request.text(2, word)
	}
	answer := c.must("ExecSync", request)
	c.must("RemoveContainer", message{}.text(1, id))
	return string(answer.field(1)) + string(answer.field(2))
}

// This is kubelet's work on a pod.
func TestContainerd(t *testing.T) { lifeOfAPod(newContainerd(t, "")) }

func lifeOfAPod(c *containerd) {
	t := c.t
	calls := c.record()
	p := c.start("p1", 8080)
	if got, want := c.addresses(p), []string{"10.85.0.2", "fd00:85::2"}; !slices.Equal(got, want) {
		t.Errorf("addresses %q, want %q", got, want)
	}
	c.wantAttached("p1 runs", 1, "10.85.0.2", "fd00:85::2")
	for _, place := range []string{theOutside, theHost} {
		c.wantPage(place, box.BoxIPv4, "8080")
	}
	c.wantPage(theOutside, box.BoxIPv6, "8080")
	c.wantPage(theHost, "127.0.0.1", "8080")
	// containerd calls loopback and bridge at the same time.
	if got := c.exec(p, "sh", "-c", "ping -c1 -W60 127.0.0.1 && ping -c1 -W60 ::1 && ping -c1 -W60 "+box.RouterIPv4); strings.Count(got, " 0% packet loss") != 3 {
		t.Errorf("the pod doesn't reach itself and the outside:\n%s", got)
	}
	c.must("StopPodSandbox", message{}.text(1, p.id))
	c.wantNothing("stopped")
	c.wantNoPage(theOutside, box.BoxIPv4, "8080")
	c.must("RemovePodSandbox", message{}.text(1, p.id))
	c.wantNothing("removed")
	// The second round of DEL is told neither a namespace nor what ADD's result was.
	want := "ADD bridge eth0 netns|ADD loopback lo netns|ADD portmap eth0 netns|ADD bandwidth eth0 netns|" +
		"DEL loopback lo netns|DEL bandwidth eth0 netns|DEL portmap eth0 netns|DEL bridge eth0 netns|" +
		"DEL loopback lo|DEL bandwidth eth0|DEL portmap eth0|DEL bridge eth0"
	got := calls()
	slices.Sort(got[:2])
	if strings.Join(got, "|") != want {
		t.Errorf("plugins were called\n%s\nwant\n%s", strings.Join(got, "|"), want)
	}
}

// Many pods at once, and all gone at once.
func TestContainerdManyPods(t *testing.T) {
	c := newContainerd(t, "")
	const count = 12
	at := func(do func(i int) error) {
		var all sync.WaitGroup
		for i := range count {
			all.Go(func() {
				if err := do(i); err != nil {
					t.Error(err)
				}
			})
		}
		all.Wait()
	}
	var pods [count]pod
	at(func(i int) (err error) {
		pods[i], err = c.run(podConfig(fmt.Sprint("p", i), 8080+i))
		return err
	})
	if leases := c.leases(); len(leases) != 2*count {
		t.Errorf("leases %q", leases)
	}
	for i := range count {
		c.wantPage(theOutside, box.BoxIPv4, strconv.Itoa(8080+i))
	}
	at(func(i int) error { return c.end(pods[i]) })
	c.wantNothing("all are removed")
}

// A pod that can't have its port leaves nothing behind, and the one that has it keeps it.
func TestContainerdPortIsTaken(t *testing.T) {
	c := newContainerd(t, "")
	first := c.start("first", 8080)
	if _, err := c.run(podConfig("second", 8080)); err == nil || !strings.Contains(err.Error(), "8080") {
		t.Errorf("error %v, want one that names the port", err)
	}
	c.wantAttached("refused", 1, "10.85.0.2", "fd00:85::2")
	c.wantPage(theOutside, box.BoxIPv4, "8080")
	if err := c.end(first); err != nil {
		t.Error(err)
	}
	c.wantNothing("removed")
}

// The namespace is gone before anybody was told, as after the host was reset.
func TestContainerdNamespaceIsGone(t *testing.T) {
	c := newContainerd(t, "")
	p := c.start("p", 8080)
	netns := c.names("/run/netns", "cni-*")
	if len(netns) != 1 {
		t.Fatalf("namespaces %q", netns)
	}
	c.do("sh", "-c", `kill -9 $(ip netns pids "$0") && umount "/run/netns/$0"`, netns[0])
	// containerd's own shim may be on its way out just then, and the first call fails: kubelet
	// calls again until it succeeds.
	var err error
	for deadline := time.Now().Add(hang); time.Now().Before(deadline); time.Sleep(100 * time.Millisecond) {
		if err = c.end(p); err == nil {
			break
		}
	}
	if err != nil {
		t.Error(err)
	}
	c.wantNothing("removed")
}

// A pod's annotations limit what it sends and gets.
func TestContainerdBandwidth(t *testing.T) {
	c := newContainerd(t, "")
	p := c.start("p", 0, "kubernetes.io/ingress-bandwidth=10M", "kubernetes.io/egress-bandwidth=20M")
	qdiscs := c.do("tc", "qdisc", "show")
	for _, want := range []string{"rate 10Mbit", "rate 20Mbit"} {
		if !strings.Contains(qdiscs, want) {
			t.Errorf("%s is lacking in\n%s", want, qdiscs)
		}
	}
	if err := c.end(p); err != nil {
		t.Error(err)
	}
	c.wantNothing("removed")
	if left := c.do("tc", "qdisc", "show"); strings.Contains(left, "tbf") {
		t.Errorf("left:\n%s", left)
	}
	if left := c.do("ip", "link", "show", "type", "ifb"); left != "" {
		t.Errorf("left:\n%s", left)
	}
}

// ctr runs a container by hand, and this version of it forgets to detach. The container's death is
// proof enough.
func TestCtrForgetsToDetach(t *testing.T) {
	c := newContainerd(t, "")
	c.do("sh", "-c", detached, c.scratch+"/stderr", "ctr", "-n", "k8s.io", "run", "-d", "--cni", "localhost/web:1", "c1")
	c.wantAttached("c1 runs", 1, "10.85.0.2", "fd00:85::2")
	c.wantPage(theHost, "10.85.0.2", "80")
	c.do("ctr", "-n", "k8s.io", "task", "rm", "-f", "c1")
	c.do("ctr", "-n", "k8s.io", "container", "rm", "c1")
	eventually(t, "the link to end with its namespace", func() bool { return len(c.ports()) == 0 })
	c.wantAttached("c1 is removed", 0, "10.85.0.2", "fd00:85::2")
	c.do(swiftctl, "gc")
	c.wantAttached("collected", 0)
}

// Pods that were started with the reference's plugins are detached by swiftcni, and get new
// neighbours.
func TestContainerdChangesPluginsWhilePodsRun(t *testing.T) {
	c := newContainerd(t, "")
	c.use(reference(t))
	old := c.start("old", 8080, "kubernetes.io/egress-bandwidth=20M")
	c.use(swiftcni)
	added := c.start("new", 8081)
	c.wantPage(theOutside, box.BoxIPv4, "8080")
	c.wantPage(theOutside, box.BoxIPv4, "8081")
	if err := c.end(old); err != nil {
		t.Error(err)
	}
	c.wantAttached("old is removed", 1, "10.85.0.3", "fd00:85::3")
	c.wantNoRule("old is removed", "10.85.0.2", "fd00:85::2", "8080", "CNI-DN-")
	next := c.start("next", 8080)
	c.wantPage(theOutside, box.BoxIPv4, "8080")
	for _, p := range []pod{added, next} {
		if err := c.end(p); err != nil {
			t.Error(err)
		}
	}
	c.wantNothing("all are removed")
	if left := c.do("ip", "link", "show", "type", "ifb"); left != "" {
		t.Errorf("left:\n%s", left)
	}
}
