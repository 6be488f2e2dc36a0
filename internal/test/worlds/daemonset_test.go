// SPDX-License-Identifier: Apache-2.0

//go:build worlds

package worlds_test

import (
	"encoding/binary"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/swiftcni/swiftcni/internal/test/box"
	"github.com/swiftcni/swiftcni/internal/tool/build"
)

// releases are the versions that a cluster is switched to, one after the other. A changelog has neither.
var releases = [2]string{"v0.9.0-pre.1", "v0.9.0-pre.2"}

// releaseImages makes the images of releases, for this machine's architecture.
func releaseImages(t *testing.T) (archives [2]string) {
	t.Helper()
	root, err := filepath.Abs(repository)
	if err != nil {
		t.Fatal(err)
	}
	out := t.TempDir()
	for i, version := range releases {
		if err := build.Run(testWriter{t}, filepath.Join(root, "internal/tool/dist"), nil, "go", "run", ".",
			"-root", root, "-out", out, "-version", version, "-arches", runtime.GOARCH, "-image"); err != nil {
			t.Fatal(err)
		}
		archives[i] = filepath.Join(out, "swiftcni-image-"+version+".tar")
		info, err := os.Stat(archives[i])
		if err != nil {
			t.Fatal(err)
		}
		t.Logf("the image of %s has %d bytes", version, info.Size())
	}
	return archives
}

// load gives a node's containerd images, as a registry would.
func (c *containerd) load(archives ...string) {
	c.t.Helper()
	for _, each := range archives {
		c.do("ctr", "-n", "k8s.io", "images", "import", each)
	}
}

// own gives the node a directory of plugins that nobody else has, of the user that the CNI project's archives have given it to.
func (c *containerd) own(plugins ...string) {
	c.t.Helper()
	c.theirs = true
	c.do("sh", append([]string{"-ec", `rm /opt/cni/bin; mkdir /opt/cni/bin; cp -L "$@" /opt/cni/bin; chown -R 1001:1001 /opt/cni/bin`, "sh"}, plugins...)...)
}

// pluginFiles are what the plugins' directory has: names, types, owners and inodes.
func (c *containerd) pluginFiles() string {
	c.t.Helper()
	list := strings.Split(c.do("find", "/opt/cni/bin", "-mindepth", "1", "-printf", "%f %y %U %i\n"), "\n")
	slices.Sort(list)
	return strings.Join(list, "\n")
}

// version is that of the plugins: an empty one is the reference's.
func (c *containerd) version() string {
	c.t.Helper()
	_, version, _ := strings.Cut(c.do("sh", "-c", "/opt/cni/bin/bridge 2>&1 </dev/null | head -n 1"), "+swiftcni.")
	return version
}

// ours lists the attachments' links that swiftcni made.
func (c *containerd) ours() (list []string) {
	c.t.Helper()
	var links []struct{ IfName, IfAlias string }
	if err := json.Unmarshal([]byte(c.do("ip", "-json", "link", "show", "type", "veth")), &links); err != nil {
		c.t.Fatal(err)
	}
	for _, l := range links {
		if strings.Count(l.IfAlias, "/") == 2 {
			list = append(list, l.IfName)
		}
	}
	return list
}

// pinging has a pod pinged from its host, until the returned function wants each packet to have been answered.
func (c *containerd) pinging(address string) (end func()) {
	c.t.Helper()
	file := "/run/ping-" + address
	pid := c.do("sh", "-c", `ping -n -i 0.1 "$0" >"$1" 2>&1 & echo $!`, address, file)
	return func() {
		c.t.Helper()
		c.do("kill", "-INT", pid)
		eventually(c.t, "ping to end", func() bool { _, err := c.Run("kill", "-0", pid); return err != nil })
		var sent, answered int
		said := c.do("tail", "-n", "2", file)
		if _, err := fmt.Sscanf(said, "%d packets transmitted, %d received", &sent, &answered); err != nil || sent-answered > 1 { // the last one was on its way
			c.t.Errorf("%s of %s: %v", said, address, err)
		}
		c.t.Logf("%s answered %d of %d packets", address, answered, sent)
	}
}

// manifests returns a directory with docs/kubernetes, and for each of its configurations one in my/ that an administrator would
// write: it names the image.
func (c *cluster) manifests(version string) (dir string) {
	c.t.Helper()
	dir = filepath.Join(c.nodes[0].scratch, version)
	if err := os.CopyFS(dir, os.DirFS(filepath.Join(repository, "docs/kubernetes"))); err != nil {
		c.t.Fatal(err)
	}
	const text = `apiVersion: kustomize.config.k8s.io/v1beta1
kind: Kustomization
resources: [../../%s]
images: [{ name: ghcr.io/swiftcni/swiftcni, newName: localhost/swiftcni, newTag: %s }]
`
	for _, name := range []string{"install", "resident", "uninstall"} {
		makeDir(c.t, filepath.Join(dir, "my", name))
		if err := os.WriteFile(filepath.Join(dir, "my", name, "kustomization.yaml"), fmt.Appendf(nil, text, name, version), 0o644); err != nil {
			c.t.Fatal(err)
		}
	}
	return filepath.Join(dir, "my")
}

// apply waits until each node has done what a configuration says.
func (c *cluster) apply(dir string) {
	c.t.Helper()
	begun := time.Now()
	c.kubectl("apply", "-k", dir)
	c.kubectl("-n", "kube-system", "rollout", "status", "daemonset/swiftcni", "--timeout="+hang.String())
	c.t.Logf("%s: each node has done it after %v", filepath.Base(dir), time.Since(begun).Round(10*time.Millisecond))
}

// job runs pods that end once each has fetched page from a pod. None of them may fail.
const job = `{ "apiVersion": "batch/v1", "kind": "Job", "metadata": { "name": "%[1]s" }, "spec": {
  "completions": %[2]d, "parallelism": 6, "backoffLimit": 0, "template": { "spec": {
    "automountServiceAccountToken": false, "terminationGracePeriodSeconds": 0, "restartPolicy": "Never",
    "containers": [ { "name": "main", "image": "localhost/web:1", "imagePullPolicy": "Never", "command": [ "/bin/sh", "-c", %[3]q ] } ] } } } }`

func (c *cluster) startJob(name string, pods int, address string) {
	c.t.Helper()
	fetch := fmt.Sprintf(`case "$(printf 'GET / HTTP/1.0\r\n\r\n' | nc -w 300 %s 80)" in *%q*) ;; *) exit 1;; esac`, address, page)
	c.nodes[0].write("/run/job.json", fmt.Sprintf(job, name, pods, fetch))
	c.kubectl("apply", "-f", "/run/job.json")
}

// done is how many of a job's pods have ended well, and wants none to have failed.
func (c *cluster) done(name string) int {
	c.t.Helper()
	counts := c.kubectl("get", "job", name, "-o", "jsonpath={.status.succeeded} {.status.failed}")
	succeeded, failed, _ := strings.Cut(counts, " ")
	if failed != "" {
		c.t.Fatalf("pods of %s failed: %s\n%s", name, failed, c.kubectl("describe", "pods", "-l", "job-name="+name))
	}
	n, _ := strconv.Atoi(succeeded) // empty at first
	return n
}

// refusals are kubelet's events of pods that couldn't be attached or detached at once, though they were later.
func (c *cluster) refusals() (events string) {
	c.t.Helper()
	for _, reason := range []string{"FailedCreatePodSandBox", "FailedKillPod"} {
		events += c.kubectl("get", "events", "--field-selector=reason="+reason, "-o",
			`jsonpath={range .items[*]}{.involvedObject.name} {.count} {.message}{"\n"}{end}`)
	}
	return events
}

// switchDuring applies a configuration while pods start and stop.
func (c *cluster) switchDuring(name, dir, address string, pods int) {
	c.t.Helper()
	told := c.refusals()
	c.startJob(name, pods, address)
	eventually(c.t, "the first pods of "+name, func() bool { return c.done(name) >= pods/8 })
	before := c.done(name)
	c.apply(dir)
	after := c.done(name)
	eventually(c.t, "all pods of "+name, func() bool { return c.done(name) == pods })
	c.t.Logf("%s: of %d pods %d had ended before the change was asked for, %d when it was over", name, pods, before, after)
	if now := c.refusals(); now != told {
		c.t.Errorf("%s: kubelet was refused\n%s\nbefore it was\n%s", name, now, told)
	}
	c.kubectl("delete", "job", name, "--wait")
}

// says are the logs of the DaemonSet's first containers.
func (c *cluster) says() string {
	c.t.Helper()
	return c.kubectl("-n", "kube-system", "logs", "-l", "app.kubernetes.io/name=swiftcni", "-c", "install", "--tail=-1")
}

// A privilege is what containerd has given a container.
type privilege struct {
	Spec struct {
		Process struct {
			User            struct{ UID int }
			NoNewPrivileges bool
			Capabilities    struct{ Bounding, Effective, Permitted []string }
		}
		Root  struct{ Readonly bool }
		Linux struct{ Seccomp *struct{} }
	}
}

// wantPrivileges compares what containerd gave a container of the DaemonSet with what its manifest says.
func (c *containerd) wantPrivileges(container string, uid int, bounding ...string) (id string) {
	c.t.Helper()
	id = c.do("ctr", "-n", "k8s.io", "containers", "ls", "-q", `labels."io.kubernetes.container.name"==`+container)
	var p privilege
	if err := json.Unmarshal([]byte(c.do("ctr", "-n", "k8s.io", "containers", "info", id)), &p); err != nil {
		c.t.Fatal(err)
	}
	of := p.Spec.Process
	if of.User.UID != uid || !slices.Equal(of.Capabilities.Bounding, bounding) || !slices.Equal(of.Capabilities.Effective, bounding) ||
		!of.NoNewPrivileges || !p.Spec.Root.Readonly || p.Spec.Linux.Seccomp == nil {
		c.t.Errorf("%s has %+v", container, p)
	}
	return id
}

// ranFor is how long a container that has ended ran.
func (c *containerd) ranFor(id string) time.Duration {
	c.t.Helper()
	status := c.must("ContainerStatus", message{}.text(1, id)).field(1)
	return time.Duration(status.value(6) - status.value(5))
}

// wantCollected waits until what the reference's plugins don't know is gone as well.
func (c *containerd) wantCollected(when string) {
	c.t.Helper()
	eventually(c.t, "rules and records of "+c.scratch+" to be collected", func() bool {
		return len(c.names("/var/lib/cni/networks/.swiftcni", "*:eth0")) == 0 && !strings.Contains(c.do("nft", "list", "table", "inet", "swiftcni"), `/eth0`)
	})
	c.wantNothing(when)
	c.wantNoRule(when, "CNI-DN-")
}

// A switching is a node that goes from plugins to others, with pods of each time.
type switching struct {
	*cluster
	node      *containerd
	published map[string]int // their ports, by deployment
}

// publish starts a pod with a port of the node, and wants the pages of all.
func (s *switching) publish(name string, port int) {
	s.t.Helper()
	s.deploy(name, 1, port)
	s.settled(name, 1)
	s.published[name] = port
	for _, port := range s.published {
		s.node.wantPage(theOutside, box.BoxIPv4, strconv.Itoa(port))
	}
}

// unpublish ends pods, and waits until nothing leads to their ports.
func (s *switching) unpublish(names ...string) {
	s.t.Helper()
	for _, name := range names {
		s.kubectl("delete", "deployment", name, "--wait")
		port := fmt.Sprintf(" %d ", s.published[name])
		delete(s.published, name)
		eventually(s.t, "the port of "+name+" to be closed", func() bool { return !strings.Contains(s.node.do("nft", "list", "ruleset"), port) })
	}
}

// wantInstalled looks at what the first containers said and might do, and has them do it again.
func (s *switching) wantInstalled(dir string, kept int) {
	s.t.Helper()
	if said := s.says(); strings.Count(said, "kept       /host/plugins/") != kept || !strings.Contains(said, "linked     /host/plugins/bridge\n") {
		s.t.Errorf("it says\n%s", said)
	}
	id := s.node.wantPrivileges("install", 0, "CAP_DAC_OVERRIDE")
	s.t.Logf("the installing container ran for %v", s.node.ranFor(id).Round(time.Millisecond))
	s.node.wantPrivileges("swiftcni", 65535)
	s.kubectl("-n", "kube-system", "delete", "pod", "-l", "app.kubernetes.io/name=swiftcni", "--wait") // as at a node's next boot
	s.apply(dir)
	if said := s.says(); strings.Count(said, "unchanged ") != strings.Count(said, "\n")+1 {
		s.t.Errorf("the second time it says\n%s", said)
	}
}

// wantResident wants a resident of a version to make the node's calls.
func (s *switching) wantResident(version string) {
	s.t.Helper()
	if said, _ := s.node.Run(swiftctl, "doctor"); !strings.Contains(said, "the resident is of version "+version) {
		s.t.Errorf("doctor says %s", said)
	}
}

// A node with the CNI project's plugins gets swiftcni's, then with a resident, then both of another version, and at last its own
// again, all while pods start and stop. Those that run stay reachable, and each is detached by whatever plugins there are then.
func TestDaemonSet(t *testing.T) {
	archives := releaseImages(t)
	n := newContainerd2(t)
	n.load(archives[:]...)
	theirs, err := filepath.Glob(reference(t) + "/*")
	if err != nil {
		t.Fatal(err)
	}
	n.own(theirs...)
	before := n.pluginFiles()
	s := &switching{newCluster(t, n, box.BoxIPv4), n, map[string]int{}}
	s.ready()
	first, second := s.manifests(releases[0]), s.manifests(releases[1])
	s.deploy("web", 2, 0)
	s.settled("web", 2)
	web := s.podsOf("web", ".status.podIP")[0][1]
	end := n.pinging(web)
	s.publish("theirs", 8081)
	for _, step := range []struct {
		name, dir, version string
		port, pods         int
		then               func()
	}{
		{"installed", first + "/install", releases[0], 8082, 60, func() { s.wantInstalled(first+"/install", len(theirs)) }},
		{"resident", first + "/resident", releases[0], 8083, 40, func() { s.wantResident(releases[0]) }},
		{"upgraded", second + "/resident", releases[1], 8084, 60, func() {
			s.wantResident(releases[1])
			s.unpublish("theirs", "installed")
		}},
		// A port of a pod that swiftcni attached is free for the next one.
		{"removed", second + "/uninstall", "", 8085, 60, func() {
			s.unpublish("upgraded")
			s.publish("again", 8084)
		}},
	} {
		links := len(n.ours())
		s.switchDuring(step.name, step.dir, web, step.pods)
		if v := n.version(); v != strings.TrimPrefix(step.version, "v") {
			t.Errorf("%s: the plugins are of version %q", step.name, v)
		}
		s.publish(step.name, step.port)
		if made := len(n.ours()) - links; (made == 1) != (step.version != "") {
			t.Errorf("%s: swiftcni made %d links of the next pod", step.name, made)
		}
		step.then()
	}
	end()
	if after := n.pluginFiles(); after != before {
		t.Errorf("the plugins were\n%s\nand are\n%s", before, after)
	}
	s.kubectl("delete", "deployments", "--all", "--wait")
	s.empty()
	n.wantCollected("all are gone")
	s.kubectl("delete", "-k", second+"/uninstall", "--wait")
	eventually(t, "the resident to end", func() bool { return len(n.names("/run/swiftcni", "*")) == 0 })
}

// Two nodes with flannel are switched at once, and back. Their pods reach each other all the while.
func TestDaemonSetFlannel(t *testing.T) {
	archives := releaseImages(t)
	theirs, err := filepath.Glob(reference(t) + "/*")
	if err != nil {
		t.Fatal(err)
	}
	c := newFlannel(t, "vxlan", func(host *containerd, plugin string) { host.own(append(theirs, plugin)...) })
	var before []string
	for _, n := range c.nodes {
		n.load(archives[0])
		before = append(before, n.pluginFiles())
	}
	manifests := c.manifests(releases[0])
	epochs := []map[string][2]string{}
	deploy := func(name string, port int) {
		c.deploy(name, 2, port)
		c.settled(name, 2)
		epochs = append(epochs, c.ends(name))
		for _, ends := range epochs {
			c.wantAcross(ends)
		}
	}
	deploy("theirs", 8081)
	web := epochs[0]["n1"][1]
	c.switchDuring("installed", manifests+"/install", web, 24)
	deploy("ours", 8082)
	for _, n := range c.nodes {
		if v := n.version(); v != strings.TrimPrefix(releases[0], "v") || len(n.ours()) != 1 {
			t.Errorf("%s has version %q and the links %q", n.name, v, n.ours())
		}
	}
	c.switchDuring("removed", manifests+"/uninstall", web, 24)
	deploy("again", 8083)
	for i, n := range c.nodes {
		if after := n.pluginFiles(); after != before[i] {
			t.Errorf("%s: the plugins were\n%s\nand are\n%s", n.name, before[i], after)
		}
	}
	c.kubectl("delete", "deployments", "--all", "--wait")
	c.empty()
	for _, n := range c.nodes {
		n.wantCollected("all are gone")
	}
}

// value returns the last number with a number, or 0.
func (m message) value(field int) (found uint64) {
	for len(m) > 0 {
		key, n := binary.Uvarint(m)
		if n <= 0 {
			return 0
		}
		m = m[n:]
		value, n := binary.Uvarint(m)
		if n <= 0 {
			return 0
		}
		m = m[n:]
		switch {
		case key&7 == 0 && key>>3 == uint64(field):
			found = value
		case key&7 == 2 && value <= uint64(len(m)):
			m = m[value:]
		}
	}
	return found
}
