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

// A program that attaches many containers keeps its sockets between the calls.
func ExampleClient() {
	dir, err := os.MkdirTemp("", "leases")
	if err != nil {
		log.Fatal(err)
	}
	defer os.RemoveAll(dir)
	n, err := cni.Parse([]byte(`{ "cniVersion": "1.1.0", "name": "many", "type": "bridge", "bridge": "br-many", "isGateway": true,
		"ipam": { "type": "host-local", "subnet": "10.79.0.0/24", "dataDir": "` + dir + `" } }`))
	if err != nil {
		log.Fatal(err)
	}
	var client cni.Client // one for the whole program
	defer client.Close()
	ctx := context.Background()
	for _, id := range []string{"c1", "c2"} {
		container := exec.Command("sleep", "60")
		container.SysProcAttr = &syscall.SysProcAttr{Cloneflags: syscall.CLONE_NEWNET}
		if err := container.Start(); err != nil {
			log.Fatal(err)
		}
		defer func() { container.Process.Kill(); container.Wait() }()
		a := cni.Attachment{ContainerID: id, IfName: "eth0", NetNS: fmt.Sprintf("/proc/%d/ns/net", container.Process.Pid)}
		result, err := client.Attach(ctx, n, a)
		if err != nil {
			log.Fatal(err)
		}
		fmt.Println(id, "has", result.IPs[0].Address)
		if err := client.Detach(ctx, n, a); err != nil {
			log.Fatal(err)
		}
	}
	// Output:
	// c1 has 10.79.0.2/24
	// c2 has 10.79.0.3/24
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
