// SPDX-License-Identifier: Apache-2.0

package cni_test

import (
	"context"
	"errors"
	"fmt"
	"log"
	"os"
	"os/exec"
	"syscall"

	"github.com/swiftcni/swiftcni/cni"
	"github.com/swiftcni/swiftcni/ipam"
)

// A program attaches a container without starting a plugin.
func ExampleAttach() {
	dir, err := os.MkdirTemp("", "leases")
	if err != nil {
		log.Fatal(err)
	}
	defer os.RemoveAll(dir)
	n, err := cni.Parse([]byte(`{ "cniVersion": "1.1.0", "name": "example", "type": "bridge", "bridge": "br-example",
		"isDefaultGateway": true, "ipMasq": true,
		"ipam": { "type": "host-local", "subnet": "10.77.0.0/24", "dataDir": "` + dir + `" } }`))
	if err != nil {
		log.Fatal(err)
	}
	// A process in a network namespace of its own stands in for a container.
	container := exec.Command("sleep", "60")
	container.SysProcAttr = &syscall.SysProcAttr{Cloneflags: syscall.CLONE_NEWNET}
	if err := container.Start(); err != nil {
		log.Fatal(err)
	}
	defer func() { container.Process.Kill(); container.Wait() }()
	a := cni.Attachment{ContainerID: "c1", IfName: "eth0", NetNS: fmt.Sprintf("/proc/%d/ns/net", container.Process.Pid)}

	ctx := context.Background()
	result, err := cni.Attach(ctx, n, a)
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(result.IPs[0].Address, "via", result.Routes[0].Gateway)
	if err := cni.Detach(ctx, n, a); err != nil {
		log.Fatal(err)
	}
	// Output: 10.77.0.2/24 via 10.77.0.1
}

// A list of plugins is one network: the same calls run all of them.
func ExampleParse() {
	n, err := cni.Parse([]byte(`{ "cniVersion": "1.0.0", "name": "web", "plugins": [
		{ "type": "bridge", "isGateway": true, "ipam": { "type": "host-local", "subnet": "10.78.0.0/24" } },
		{ "type": "portmap" },
		{ "type": "firewall" } ],
		"runtimeConfig": { "portMappings": [ { "hostPort": 8080, "containerPort": 80, "protocol": "tcp" } ] } }`))
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(n.Name(), n.Plugins())
	// What is wrong with any of them is found before anything is touched, and a network is there all the same, for Detach.
	n, err = cni.Parse([]byte(`{ "cniVersion": "1.0.0", "name": "web", "plugins": [ { "type": "bridge" }, { "type": "portmap", "snat": 1 } ] }`))
	fmt.Println(n.Name(), err)
	// Output:
	// web [bridge portmap firewall]
	// web plugins[1]: invalid "snat": expected a boolean, got a number
}

// Errors carry the specification's code, the key at fault, and their cause.
func ExampleError() {
	_, err := cni.Parse([]byte(`{ "cniVersion": "1.0.0", "name": "n", "type": "bridge", "ipam": { "type": "host-local", "subnet": 10 } }`))
	var e *cni.Error
	if errors.As(err, &e) {
		fmt.Println(e.Code, e.Key)
		fmt.Println(e)
	}
	var full *ipam.ExhaustedError
	fmt.Println("because a range is full:", errors.As(err, &full))
	// Output:
	// 7 ipam.subnet
	// invalid "ipam.subnet": expected a string, got a number
	// because a range is full: false
}
