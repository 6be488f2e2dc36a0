// SPDX-License-Identifier: Apache-2.0

//go:build worlds

package worlds_test

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/swiftcni/swiftcni/internal/test/box"
)

// startKubelet starts one whose pods are files in the returned directory and, where flags name one,
// those of an API server.
func (c *containerd) startKubelet(program, name, address string, flags ...string) (manifests string) {
	c.t.Helper()
	dir := filepath.Join(c.scratch, "kubelet")
	manifests = filepath.Join(dir, "manifests")
	if err := os.MkdirAll(manifests, 0o755); err != nil {
		c.t.Fatal(err)
	}
	// kubelet insists on settings of the whole machine. It's shown files that say what it wants,
	// and so it writes none.
	for name, value := range map[string]string{
		"vm/overcommit_memory": "1", "vm/panic_on_oom": "0", "kernel/panic": "10", "kernel/panic_on_oops": "1",
		"kernel/keys/root_maxkeys": "1000000", "kernel/keys/root_maxbytes": "25000000",
	} {
		machine := func() string {
			text, err := os.ReadFile("/proc/sys/" + name)
			if err != nil {
				c.t.Fatal(err)
			}
			return string(text)
		}
		before := machine()
		c.t.Cleanup(func() {
			if after := machine(); after != before {
				c.t.Errorf("the machine's %s was %q and is %q", name, before, after)
			}
		})
		file := filepath.Join(dir, strings.ReplaceAll(name, "/", "-"))
		if err := os.WriteFile(file, []byte(value+"\n"), 0o644); err != nil {
			c.t.Fatal(err)
		}
		c.do("mount", "--bind", file, "/proc/sys/"+name)
	}
	c.do("sh", "-c", "mount -t tmpfs log /var/log && mount --make-rshared /")
	config := fmt.Sprintf(`
apiVersion: kubelet.config.k8s.io/v1beta1
kind: KubeletConfiguration
authentication: {anonymous: {enabled: true}, webhook: {enabled: false}}
authorization: {mode: AlwaysAllow}
cgroupDriver: cgroupfs
cgroupsPerQOS: false
enforceNodeAllocatable: []
containerRuntimeEndpoint: unix://%s
failSwapOn: false
failCgroupV1: false
oomScoreAdj: 0
featureGates: {KubeletInUserNamespace: true}
podLogsDir: /var/log/pods
resolvConf: ""
makeIPTablesUtilChains: false
volumePluginDir: %s
staticPodPath: %s
fileCheckFrequency: 1s
evictionHard: {memory.available: "0%%", nodefs.available: "0%%", nodefs.inodesFree: "0%%", imagefs.available: "0%%"}
`, containerdSocket, dir+"/plugins", manifests)
	c.write("/run/kubelet.yaml", config)
	c.t.Cleanup(c.daemon(program, append([]string{"--config=/run/kubelet.yaml", "--root-dir=" + dir + "/root",
		"--cert-dir=" + dir + "/certs", "--hostname-override=" + name, "--node-ip=" + address}, flags...)...))
	return manifests
}

const podManifest = `{ "apiVersion": "v1", "kind": "Pod", "metadata": { "name": "%[1]s", "namespace": "default" },
  "spec": { "automountServiceAccountToken": false, "terminationGracePeriodSeconds": 0, "containers": [ {
    "name": "main", "image": "localhost/web:1", "imagePullPolicy": "Never", "command": [ "/bin/sleep", "100000" ],
    "ports": [ { "containerPort": 80, "hostPort": %[2]d } ] } ] } }`

// A node's own pods, by kubelet: they come and go as their files do.
func TestKubelet(t *testing.T) {
	kubelet := buildKubernetes(t) + "/kubelet"
	for _, with := range []struct{ name, programs string }{{"containerd_1", ""}, {"containerd_2", containerd2(t)}} {
		t.Run(with.name, func(t *testing.T) {
			c := newContainerd(t, with.programs)
			manifests := c.startKubelet(kubelet, "node", box.BoxIPv4)
			for i := range 3 {
				file := filepath.Join(manifests, fmt.Sprintf("p%d.json", i))
				if err := os.WriteFile(file, fmt.Appendf(nil, podManifest, fmt.Sprint("p", i), 8080+i), 0o644); err != nil {
					t.Fatal(err)
				}
			}
			begun := time.Now()
			eventually(t, "three pods", func() bool { return len(c.leases()) == 6 && len(c.ports()) == 3 })
			t.Logf("three pods are attached after %v", time.Since(begun).Round(time.Millisecond))
			for _, port := range []string{"8080", "8081", "8082"} {
				eventually(t, "the page of port "+port, func() bool {
					got, err := c.get("10", theOutside, box.BoxIPv4, port)
					return err == nil && strings.HasSuffix(got, page)
				})
			}
			for i := range 3 {
				if err := os.Remove(filepath.Join(manifests, fmt.Sprintf("p%d.json", i))); err != nil {
					t.Fatal(err)
				}
			}
			eventually(t, "all pods to be detached", func() bool { return len(c.leases()) == 0 && len(c.ports()) == 0 })
			eventually(t, "libcni to forget", func() bool { return len(c.names("/var/lib/cni/results", "*")) == 0 })
			c.wantNothing("removed")
		})
	}
}
