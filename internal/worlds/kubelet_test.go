// SPDX-License-Identifier: Apache-2.0

//go:build worlds

package worlds_test

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/swiftcni/swiftcni/internal/box"
)

// kubeletVersion is Kubernetes' minor version and patch.
const kubeletVersion = "34.4"

// buildKubelet builds it in a module of its own, since Kubernetes' needs its parts to be named one by one. It takes some minutes.
func buildKubelet(t *testing.T) string {
	t.Helper()
	const script = `set -e
cd "$1"
printf 'module scratch\n\ngo 1.24.0\n' >go.mod
for m in api apiextensions-apiserver apimachinery apiserver cli-runtime client-go cloud-provider cluster-bootstrap \
  code-generator component-base component-helpers controller-manager cri-api cri-client csi-translation-lib \
  dynamic-resource-allocation endpointslice externaljwt kms kube-aggregator kube-controller-manager kube-proxy \
  kube-scheduler kubectl kubelet metrics mount-utils pod-security-admission sample-apiserver sample-cli-plugin \
  sample-controller; do
  go mod edit -replace=k8s.io/$m=k8s.io/$m@v0.$0
done
go mod edit -require=k8s.io/kubernetes@v1.$0
printf '//go:build tools\n\npackage tools\n\nimport _ "k8s.io/kubernetes/cmd/kubelet/app"\n' >tools.go
GOFLAGS=-mod=mod CGO_ENABLED=0 nice go build -trimpath -ldflags "-s -w -X k8s.io/component-base/version.gitVersion=v1.$0" \
  -o "$2" k8s.io/kubernetes/cmd/kubelet`
	dir := cached(t, "kubelet-v1."+kubeletVersion, []string{"kubelet"}, func(dir string) *exec.Cmd {
		if err := os.MkdirAll(dir, 0o755); err != nil {
			t.Fatal(err)
		}
		return exec.Command("sh", "-c", script, kubeletVersion, t.TempDir(), filepath.Join(dir, "kubelet"))
	})
	return filepath.Join(dir, "kubelet")
}

// startKubelet starts one that has no API server: its pods are files in the returned directory.
func (c *containerd) startKubelet(program string) (manifests string) {
	c.t.Helper()
	dir := filepath.Join(c.scratch, "kubelet")
	manifests = filepath.Join(dir, "manifests")
	if err := os.MkdirAll(manifests, 0o755); err != nil {
		c.t.Fatal(err)
	}
	// kubelet insists on settings of the whole machine. It's shown files that say what it wants, and so it writes none.
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
	c.t.Cleanup(c.daemon(program, "--config=/run/kubelet.yaml", "--root-dir="+dir+"/root", "--cert-dir="+dir+"/certs",
		"--hostname-override=node", "--node-ip="+box.BoxIPv4))
	return manifests
}

const podManifest = `{ "apiVersion": "v1", "kind": "Pod", "metadata": { "name": "%[1]s", "namespace": "default" },
  "spec": { "automountServiceAccountToken": false, "terminationGracePeriodSeconds": 0, "containers": [ {
    "name": "main", "image": "localhost/web:1", "imagePullPolicy": "Never", "command": [ "/bin/sleep", "100000" ],
    "ports": [ { "containerPort": 80, "hostPort": %[2]d } ] } ] } }`

// A node's own pods, by kubelet: they come and go as their files do.
func TestKubelet(t *testing.T) {
	kubelet := buildKubelet(t)
	for _, with := range []struct{ name, programs string }{{"containerd_1", ""}, {"containerd_2", containerd2(t)}} {
		t.Run(with.name, func(t *testing.T) {
			c := newContainerd(t, with.programs)
			manifests := c.startKubelet(kubelet)
			for i := range 3 {
				file := filepath.Join(manifests, fmt.Sprintf("p%d.json", i))
				if err := os.WriteFile(file, fmt.Appendf(nil, podManifest, fmt.Sprint("p", i), 8080+i), 0o644); err != nil {
					t.Fatal(err)
				}
			}
			begun := time.Now()
			within(t, 2*time.Minute, "three pods", func() bool { return len(c.leases()) == 6 && len(c.ports()) == 3 })
			t.Logf("three pods are attached after %v", time.Since(begun).Round(time.Millisecond))
			for _, port := range []string{"8080", "8081", "8082"} {
				within(t, time.Minute, "the page of port "+port, func() bool {
					got, err := c.get("10", theOutside, box.BoxIPv4, port)
					return err == nil && strings.HasSuffix(got, page)
				})
			}
			for i := range 3 {
				if err := os.Remove(filepath.Join(manifests, fmt.Sprintf("p%d.json", i))); err != nil {
					t.Fatal(err)
				}
			}
			within(t, 2*time.Minute, "all pods to be detached", func() bool { return len(c.leases()) == 0 && len(c.ports()) == 0 })
			within(t, time.Minute, "libcni to forget", func() bool { return len(c.names("/var/lib/cni/results", "*")) == 0 })
			c.wantNothing("removed")
		})
	}
}
