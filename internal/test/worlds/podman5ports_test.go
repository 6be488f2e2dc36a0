// SPDX-License-Identifier: Apache-2.0

//go:build worlds

package worlds_test

import (
	"strings"
	"testing"

	"github.com/swiftcni/swiftcni/internal/test/box"
)

// Each form of `podman run -p`, and each packet is answered.
func TestPodman5Ports(t *testing.T) {
	p := newPodman5(t)
	p.podman("network", "create", "--driver", "swiftcni", "--ipv6", "--subnet", "10.89.7.0/24", "--subnet", "fd00:89:7::/64", "front")
	p.run("p1", "--network", "front",
		"-p", "8081:80/tcp", "-p", "8081:80/udp", // podman makes "tcp,udp" of it
		"-p", "8100-8103:80-83/udp",
		"-p", "8200-8202:78-80",
		"-p", box.BoxIPv4+":8082:80", "-p", "["+box.BoxIPv6+"]:8083:80", "-p", "127.0.0.1:8084:80",
		"-p", "0.0.0.0:8086:80", "-p", "[::]:8087:80", // to podman 5 the first of them is any address
		"-p", "8085:80/sctp", "-p", "8300-8301:90-91/sctp")
	p.wantPage(theOutside, box.BoxIPv4, "8081")
	p.wantUDP(box.BoxIPv4, 8081, "p1", 80)
	p.wantUDP(box.BoxIPv6, 8081, "p1", 80)
	p.wantUDP(box.BoxIPv4, 8100, "p1", 80)
	p.wantUDP(box.BoxIPv4, 8103, "p1", 83)
	p.wantUDP(box.BoxIPv6, 8103, "p1", 83)
	p.wantPage(theOutside, box.BoxIPv4, "8202")
	p.wantPage(theOutside, box.BoxIPv6, "8202")
	p.wantPage(theOutside, box.BoxIPv4, "8082")
	p.wantNoPage(theOutside, box.BoxIPv6, "8082")
	p.wantNoPage(theHost, "127.0.0.1", "8082")
	p.wantPage(theOutside, box.BoxIPv6, "8083")
	p.wantNoPage(theOutside, box.BoxIPv4, "8083")
	p.wantPage(theHost, "127.0.0.1", "8084")
	p.wantNoPage(theOutside, box.BoxIPv4, "8084")
	p.wantPage(theOutside, box.BoxIPv4, "8086")
	p.wantPage(theOutside, box.BoxIPv6, "8087")
	p.wantNoPage(theOutside, box.BoxIPv4, "8087")
	p.wantSCTP(box.BoxIPv4, 8085, "p1", 80)
	p.wantSCTP(box.BoxIPv4, 8301, "p1", 91)

	// Any port can have any mapping's protocol only once.
	err := p.try(web("p2", "--network", "front", "-p", "8103:80/udp")...)
	if err == nil || !strings.Contains(err.Error(), "8103") {
		t.Errorf("a port of a range that's taken: %v", err)
	}
	p.remove("p2")
	p.run("p2", "--network", "front", "-p", "8103:80/tcp", "-p", "8082:80/udp")
	p.wantPage(theOutside, box.BoxIPv4, "8103")
	p.wantUDP(box.BoxIPv4, 8082, "p2", 80)
	p.wantUDP(box.BoxIPv4, 8103, "p1", 83)
	p.remove("p1")
	p.wantNoPage(theOutside, box.BoxIPv4, "8081")
	// What p1 had is free again, and a client of p1's reaches p3.
	p.run("p3", "--network", "front", "-p", "8103:83/udp", "-p", "8085:80/sctp")
	p.wantUDP(box.BoxIPv4, 8103, "p3", 83)
	p.wantSCTP(box.BoxIPv4, 8085, "p3", 80)
	p.remove("p2", "p3")
	p.wantNothing("all are removed")
}

// What a network says of its addresses, and what a container asks for.
func TestPodman5Addresses(t *testing.T) {
	p := newPodman5(t)
	p.podman("network", "create", "--driver", "swiftcni", "--interface-name", "front0", "--route", "10.99.0.0/16,10.89.7.1",
		"--subnet", "10.89.7.0/24", "--gateway", "10.89.7.254", "--ip-range", "10.89.7.128-10.89.7.129",
		"--subnet", "fd00:89:7::/64", "--gateway", "fd00:89:7::fe", "--ip-range", "fd00:89:7::80-fd00:89:7::90", "front")
	p.podman("network", "create", "--driver", "swiftcni", "--opt", "ipam=swiftcni", "--opt", "metric=200",
		"--subnet", "10.89.8.0/24", "--ip-range", "10.89.8.64/26", "back")
	addresses := func(name, network string) string {
		return p.podman("inspect", "-f", "{{with .NetworkSettings.Networks."+network+"}}{{.IPAddress}} {{.GlobalIPv6Address}} {{.MacAddress}}{{end}}", name)
	}
	within := func(name, network, want string) {
		t.Helper()
		if got := addresses(name, network); !strings.HasPrefix(got, want) {
			t.Errorf("%s has %q in %s, want %q", name, got, network, want)
		}
	}
	p.run("r1", "--network", "front", "--network-alias", "one")
	p.run("r2", "--network", "front")
	within("r1", "front", "10.89.7.128 fd00:89:7::80 ")
	within("r2", "front", "10.89.7.129 fd00:89:7::81 ")
	if err := p.try(web("r3", "--network", "front")...); err == nil || !strings.Contains(err.Error(), "10.89.7.129") {
		t.Errorf("a third address of a range of two: %v", err)
	}
	p.remove("r3")
	routes := p.podman("exec", "r1", "ip", "route")
	for _, want := range []string{"default via 10.89.7.254 dev eth0", "metric 100", "10.99.0.0/16 via 10.89.7.1"} {
		if !strings.Contains(routes, want) {
			t.Errorf("r1 lacks %q:\n%s", want, routes)
		}
	}
	for _, to := range []string{"10.89.7.254", "fd00:89:7::fe", "10.89.7.129", "fd00:89:7::81", box.RouterIPv4, box.RouterIPv6} {
		p.reaches("r1", to)
	}
	p.do("ip", "link", "show", "front0")

	// Two networks from the start, one with addresses by podman, one by the driver.
	p.run("both", "--network", "front:ip=10.89.7.77,ip6=fd00:89:7::77,mac=02:00:5e:10:00:77,interface_name=eth5,host_interface_name=both0,alias=two",
		"--network", "back:ip=10.89.8.100", "-p", "8081:80")
	within("both", "front", "10.89.7.77 fd00:89:7::77 02:00:5e:10:00:77")
	within("both", "back", "10.89.8.100 ")
	p.do("ip", "link", "show", "both0")
	p.wantPage(theHost, "10.89.7.77", "80")
	p.wantPage(theHost, "10.89.8.100", "80")
	p.wantPage(theOutside, box.BoxIPv4, "8081")
	p.wantPage(theOutside, box.BoxIPv6, "8081")
	p.reaches("both", "10.89.7.128")
	p.run("b1", "--network", "back")
	within("b1", "back", "10.89.8.101 ") // the one after that which was given last
	if routes := p.podman("exec", "b1", "ip", "route"); !strings.Contains(routes, "metric 200") {
		t.Errorf("b1 has\n%s", routes)
	}
	p.podman("network", "connect", "--ip", "10.89.7.33", "--ip6", "fd00:89:7::33", "--mac-address", "02:00:5e:10:00:33", "--alias", "three", "front", "b1")
	within("b1", "front", "10.89.7.33 fd00:89:7::33 02:00:5e:10:00:33")
	reload := []string{"network", "reload", "r1", "r2", "both", "b1"}
	if strings.HasPrefix(p.podman("version", "--format", "{{.Client.Version}}"), "6.") {
		reload = reload[:4] // podman itself fails for fixed addresses, whatever the driver
	}
	p.podman(reload...)
	within("b1", "front", "10.89.7.33 fd00:89:7::33 02:00:5e:10:00:33")
	p.reaches("b1", "10.89.7.77")
	p.podman("network", "disconnect", "back", "b1")
	p.wantAttached("b1 left back", 5, "10.89.8.100")
	p.reaches("b1", box.RouterIPv4)
	p.remove("r1", "r2", "both", "b1")
	p.wantNothing("all are removed")
	p.podman("network", "rm", "front", "back")
}
