// SPDX-License-Identifier: Apache-2.0

package libcnitest

import (
	"context"
	"fmt"
	"log"
	"os"
	"os/exec"

	"github.com/containernetworking/cni/libcni"
	"github.com/containernetworking/cni/pkg/invoke"
	types "github.com/containernetworking/cni/pkg/types/100"
	"github.com/swiftcni/swiftcni/cni/inprocess"
)

// A program attaches a container by libcni, and no plugin is started.
func Example() {
	if err := exec.Command("ip", "netns", "add", "c1").Run(); err != nil {
		log.Fatal(err)
	}
	execute := &invoke.DefaultExec{RawExec: &invoke.RawExec{Stderr: os.Stderr}} // for plugins that aren't swiftcni's
	client := libcni.NewCNIConfigWithCacheDir([]string{"/opt/cni/bin"}, "/run/cache", inprocess.New(execute))

	list, err := libcni.ConfListFromBytes([]byte(`{
		"cniVersion": "1.1.0", "name": "example",
		"plugins": [
			{ "type": "bridge", "bridge": "example0", "isGateway": true, "ipMasq": true,
			  "ipam": { "type": "host-local", "subnet": "10.5.0.0/24", "dataDir": "/run/leases" } },
			{ "type": "portmap", "capabilities": { "portMappings": true } }
		] }`))
	if err != nil {
		log.Fatal(err)
	}
	container := &libcni.RuntimeConf{ContainerID: "c1", NetNS: "/run/netns/c1", IfName: "eth0"}
	result, err := client.AddNetworkList(context.Background(), list, container)
	if err != nil {
		log.Fatal(err)
	}
	got, err := types.GetResult(result)
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println("c1 has", got.IPs[0].Address.String())
	if err := client.CheckNetworkList(context.Background(), list, container); err != nil {
		log.Fatal(err)
	}
	if err := client.DelNetworkList(context.Background(), list, container); err != nil {
		log.Fatal(err)
	}
	// Output: c1 has 10.5.0.2/24
}
