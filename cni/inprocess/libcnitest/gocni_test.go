// SPDX-License-Identifier: Apache-2.0

package libcnitest

import (
	"context"
	"errors"
	"fmt"
	"log"
	"os"
	"os/exec"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"unsafe"

	gocni "github.com/containerd/go-cni"
	"github.com/containernetworking/cni/libcni"
	"github.com/containernetworking/cni/pkg/types"
	"github.com/swiftcni/swiftcni/cni/inprocess"
	"github.com/swiftcni/swiftcni/internal/test/nstest"
)

// useClient makes go-cni use a client of libcni's. Version 1.1.14 has no option for it: WithPluginDir makes the client, and
// everything there is unexported. It comes after New, as that option would take the client away, and before Load, since each
// network that's loaded keeps the client of that moment.
func useClient(c gocni.CNI, client libcni.CNI) error {
	field := reflect.ValueOf(c).Elem().FieldByName("cniConfig")
	if !field.IsValid() || field.Type() != reflect.TypeFor[libcni.CNI]() {
		return errors.New("this version of go-cni keeps its client elsewhere")
	}
	*(*libcni.CNI)(unsafe.Pointer(field.UnsafeAddr())) = client
	return nil
}

// podNetwork is the list that containerd's documentation gives for Kubernetes.
const podNetwork = `{ "cniVersion": "1.1.0", "name": "NAME", "plugins": [
	{ "type": "bridge", "bridge": "BRIDGE", "isGateway": true, "ipMasq": true, "promiscMode": true,
	  "ipam": { "type": "host-local", "ranges": [ [ { "subnet": "SUBNET" } ] ], "routes": [ { "dst": "0.0.0.0/0" } ], "dataDir": "LEASES" } },
	{ "type": "portmap", "capabilities": { "portMappings": true } },
	{ "type": "bandwidth", "capabilities": { "bandwidth": true } } ] }`

// podOptions are what containerd's CRI asks for, for a pod with a port and a limit.
func podOptions(id string, hostPort int32) []gocni.NamespaceOpts {
	return []gocni.NamespaceOpts{
		gocni.WithLabels(map[string]string{"K8S_POD_NAMESPACE": "default", "K8S_POD_NAME": id, "K8S_POD_INFRA_CONTAINER_ID": id, "K8S_POD_UID": "u", "IgnoreUnknown": "1"}),
		gocni.WithCapability("io.kubernetes.cri.pod-annotations", map[string]string{"a": "b"}),
		gocni.WithCapabilityPortMap([]gocni.PortMapping{{HostPort: hostPort, ContainerPort: 80, Protocol: "tcp"}}),
		gocni.WithCapabilityBandWidth(gocni.BandWidth{IngressRate: 1e8, IngressBurst: 1e7, EgressRate: 1e8, EgressBurst: 1e7}),
		gocni.WithCapabilityDNS(gocni.DNS{Servers: []string{"10.96.0.10"}}),
		gocni.WithCapabilityCgroupPath("/kubepods/u"),
	}
}

// podRuntime is go-cni as containerd's CRI sets it up, with a client of libcni's.
func podRuntime(t testing.TB, confDir string, client libcni.CNI) gocni.CNI {
	t.Helper()
	c, err := gocni.New(gocni.WithMinNetworkCount(2), gocni.WithPluginConfDir(confDir), gocni.WithPluginMaxConfNum(1), gocni.WithPluginDir([]string{"/nowhere"}))
	if err != nil {
		t.Fatal(err)
	}
	if err := useClient(c, client); err != nil {
		t.Fatal(err)
	}
	if err := c.Load(gocni.WithLoNetwork, gocni.WithDefaultConf); err != nil {
		t.Fatal(err)
	}
	return c
}

func podList(t testing.TB, name, subnet, leases string) (confDir, text string) {
	t.Helper()
	confDir = t.TempDir()
	text = strings.NewReplacer("NAME", name, "BRIDGE", name+"0", "SUBNET", subnet, "LEASES", leases).Replace(podNetwork)
	if err := os.WriteFile(filepath.Join(confDir, "10-"+name+".conflist"), []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
	return confDir, text
}

// A pod gets its loopback, its address, its port and its limits, and nothing of them stays. No plugin is a file anywhere.
func TestGoCNIStartsNoPlugin(t *testing.T) {
	trustInit(t)
	leases := t.TempDir()
	confDir, text := podList(t, "pods", "10.11.0.0/16", leases)
	client, ctx, path := clientOf(t, "/nowhere"), context.Background(), nstest.New(t, "pod")
	c := podRuntime(t, confDir, client)
	if err := c.Status(); err != nil {
		t.Error("Status: ", err)
	}
	before := nstest.Run(t, "", "nft", "list", "ruleset")
	for round := range 2 {
		result, err := c.Setup(ctx, "pod1", path, podOptions("pod1", 8085)...)
		if err != nil {
			t.Fatal("Setup: ", err)
		}
		eth0 := result.Interfaces["eth0"]
		if eth0 == nil || len(eth0.IPConfigs) != 1 || !strings.HasPrefix(eth0.IPConfigs[0].IP.String(), "10.11.0.") {
			t.Errorf("eth0 is %+v", eth0)
		}
		if got := nstest.Run(t, path, "ip", "-o", "link", "show", "lo"); !strings.Contains(got, "LOOPBACK,UP") {
			t.Error("lo isn't up: ", got)
		}
		if got := nstest.Run(t, "", "ip", "-o", "link", "show", "type", "ifb"); strings.Count(got, "\n") != 1 {
			t.Error("what the pod sends isn't limited: ", got)
		}
		if got := nstest.Run(t, "", "nft", "list", "ruleset"); !strings.Contains(got, "8085") {
			t.Error("the port isn't published: ", got)
		}
		// go-cni's own Check can't succeed with its loopback, whose version 0.3.1 has no CHECK.
		if err := client.CheckNetworkList(ctx, listOf(t, text), &libcni.RuntimeConf{ContainerID: "pod1", NetNS: path, IfName: "eth0",
			CapabilityArgs: map[string]any{"portMappings": []map[string]any{{"hostPort": 8085, "containerPort": 80, "protocol": "tcp"}}}}); err != nil {
			t.Error("CHECK: ", err)
		}
		// kubelet stops a pod more than once, and after its namespace is gone.
		for _, netns := range []string{path, ""} {
			if err := c.Remove(ctx, "pod1", netns, podOptions("pod1", 8085)...); err != nil {
				t.Errorf("round %d: Remove: %v", round, err)
			}
		}
		waitFor(t, "links", func() bool {
			return links(t) == 0 && nstest.Run(t, "", "ip", "-o", "link", "show", "type", "ifb") == ""
		})
	}
	if got := nstest.Run(t, "", "nft", "list", "ruleset"); strings.Contains(got, "pod1") || strings.Contains(got, "8085") {
		t.Errorf("the ruleset was\n%s\nand is\n%s", before, got)
	}
	if left, err := filepath.Glob(leases + "/pods/10.*"); err != nil || len(left) > 0 {
		t.Error("leases are left: ", left, err)
	}
}

// go-cni hands libcni's errors on.
func TestGoCNIsErrorsAreLibcnis(t *testing.T) {
	confDir, _ := podList(t, "poderrors", "10.12.0.0/16", t.TempDir())
	c := podRuntime(t, confDir, clientOf(t, "/nowhere"))
	_, err := c.Setup(context.Background(), "pod1", "/nowhere/ns", podOptions("pod1", 8086)...)
	var e *types.Error
	if !errors.As(err, &e) || e.Code == 0 {
		t.Errorf("error is %#v", err)
	}
}

// A program attaches a pod by go-cni, as containerd does, and no plugin is started.
func Example_goCNI() {
	if err := exec.Command("ip", "netns", "add", "pod1").Run(); err != nil {
		log.Fatal(err)
	}
	network, err := gocni.New(gocni.WithMinNetworkCount(2))
	if err != nil {
		log.Fatal(err)
	}
	client := libcni.NewCNIConfigWithCacheDir([]string{"/opt/cni/bin"}, "/run/cache", inprocess.New(execute()))
	if err := useClient(network, client); err != nil {
		log.Fatal(err)
	}
	list := strings.NewReplacer("NAME", "example2", "BRIDGE", "example2", "SUBNET", "10.13.0.0/24", "LEASES", "/run/leases").Replace(podNetwork)
	if err := network.Load(gocni.WithLoNetwork, gocni.WithConfListBytes([]byte(list))); err != nil {
		log.Fatal(err)
	}
	ctx, port := context.Background(), gocni.WithCapabilityPortMap([]gocni.PortMapping{{HostPort: 8088, ContainerPort: 80, Protocol: "tcp"}})
	result, err := network.Setup(ctx, "pod1", "/run/netns/pod1", port)
	if err != nil {
		log.Fatal(err)
	}
	for name, link := range result.Interfaces {
		if name != "lo" && link.Sandbox != "" {
			fmt.Println(name, "has", link.IPConfigs[0].IP)
		}
	}
	if err := network.Remove(ctx, "pod1", "/run/netns/pod1", port); err != nil {
		log.Fatal(err)
	}
	// Output: eth1 has 10.13.0.2
}
