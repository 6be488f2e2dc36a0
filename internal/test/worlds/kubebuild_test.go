// SPDX-License-Identifier: Apache-2.0

//go:build worlds

package worlds_test

import (
	"os"
	"os/exec"
	"path/filepath"
	"testing"
)

// Releases that are built from source, since Debian 12 has none of their kind.
const (
	kubernetesVersion    = "34.4" // minor version and patch
	flannelVersion       = "0.28.10"
	flannelPluginVersion = "v0.9.1" // of the CNI project's plugins: the last one with flannel's
)

// buildKubernetes returns a directory with all of a cluster's programs but etcd. Kubernetes' module
// needs its parts to be named one by one, which a module of our own does. It takes some minutes.
func buildKubernetes(t *testing.T) string {
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
for c in kubelet kube-apiserver kube-controller-manager kube-scheduler kube-proxy kubectl; do set -- "$@" k8s.io/kubernetes/cmd/$c; done
out=$2; shift 2
GOFLAGS=-mod=mod CGO_ENABLED=0 nice go build -trimpath -ldflags "-s -w -X k8s.io/component-base/version.gitVersion=v1.$0" -o "$out/" "$@"`
	programs := []string{"kubelet", "kube-apiserver", "kube-controller-manager", "kube-scheduler", "kube-proxy", "kubectl"}
	return cached(t, "kubernetes-v1."+kubernetesVersion, programs, func(dir string) *exec.Cmd {
		makeDir(t, dir)
		return exec.Command("sh", "-c", script, kubernetesVersion, t.TempDir(), dir)
	})
}

// buildFlannel returns a directory with flanneld, and its plugin flannel. Two of flanneld's
// backends are left out: one needs C, and one a vendor's module.
func buildFlannel(t *testing.T) string {
	t.Helper()
	const script = `set -e
module=$(go mod download -json github.com/flannel-io/flannel@v$0 | sed -n 's/.*"Dir": "\(.*\)",.*/\1/p')
cp -r "$module" "$1/flannel"
chmod -R u+w "$1/flannel"
cd "$1/flannel"
for backend in tencentvpc udp; do
  rm -r pkg/backend/$backend
  sed -i "/backend\/$backend\"/d" main.go
done
tencent=github.com/tencentcloud/tencentcloud-sdk-go/tencentcloud
go mod edit -droprequire=$tencent/common -droprequire=$tencent/vpc
GOFLAGS=-mod=mod CGO_ENABLED=0 nice go build -trimpath -ldflags "-s -w" -o "$2/flanneld" .
GOFLAGS=-mod=mod CGO_ENABLED=0 GOBIN="$2" nice go install -trimpath -ldflags "-s -w" github.com/containernetworking/plugins/plugins/meta/flannel@$3`
	return cached(t, "flannel-v"+flannelVersion, []string{"flanneld", "flannel"}, func(dir string) *exec.Cmd {
		makeDir(t, dir)
		return exec.Command("sh", "-c", script, flannelVersion, t.TempDir(), dir, flannelPluginVersion)
	})
}

func makeDir(t *testing.T, dir string) {
	t.Helper()
	if err := os.MkdirAll(dir, 0o755); err != nil {
		t.Fatal(err)
	}
}

// pluginsAnd is swiftcni's plugin directory with one more plugin, which is no part of it.
func pluginsAnd(t *testing.T, program string) string {
	t.Helper()
	dir := t.TempDir()
	installed, err := filepath.Glob(swiftcni + "/*")
	if err != nil {
		t.Fatal(err)
	}
	for _, each := range append(installed, program) {
		if err := os.Symlink(each, filepath.Join(dir, filepath.Base(each))); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}
