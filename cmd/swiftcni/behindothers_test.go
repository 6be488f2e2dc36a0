// SPDX-License-Identifier: Apache-2.0

package main

import (
	"fmt"
	"io"
	"net"
	"net/netip"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"
)

// A foreign is a network plugin that isn't ours, by what it makes and answers: the container's link, and
// a prevResult for the plugins that follow it.
type foreign struct {
	name    string // with its version
	version string // of the configuration
	host    string // name of the host's end
	bridge  string // of which that is a port, with the gateway's address, or none
	addrs   string // of eth0
	gateway string // of each family; it may be outside of the address's subnet
	prev    string // members of the result

	// The address belongs to a link that isn't named like the container's, or has no namespace. Then
	// portmap publishes nothing, as the reference's.
	unpublished bool
}

// foreigns are the shapes in the plugins' own sources.
var foreigns = []foreign{
	// v3.22 to v3.30: cni-plugin/pkg/plugin/plugin.go, pkg/k8s/k8s.go: the host's end alone, and no index.
	{"Calico 3.30", "0.3.1", "cali1a2b3c4d5e6", "", "192.168.5.7/32", "169.254.1.1",
		`"interfaces":[{"name":"HOST"}],"ips":[{"version":"4","address":"192.168.5.7/32"}],"dns":{}`, false},
	{"Calico 3.30, two families", "1.0.0", "cali1a2b3c4d5e6", "", "192.168.5.7/32 fd00:5::7/128", "169.254.1.1",
		`"interfaces":[{"name":"HOST"}],"ips":[{"address":"192.168.5.7/32"},{"address":"fd00:5::7/128"}],"dns":{}`, false},
	// v3.31, both files: the container's link with MAC and MTU, to which each address belongs.
	{"Calico 3.31", "1.1.0", "cali1a2b3c4d5e6", "", "192.168.5.7/32", "169.254.1.1",
		`"interfaces":[{"name":"HOST"},{"name":"eth0","mac":"MAC","mtu":1450,"sandbox":"NETNS"}],"ips":[{"interface":1,"address":"192.168.5.7/32"}],"dns":{}`, false},
	// As it was also seen: the host's end with the container's MAC and namespace.
	{"Calico, its host end inside", "1.0.0", "cali1a2b3c4d5e6", "", "192.168.5.7/32", "169.254.1.1",
		`"interfaces":[{"name":"HOST","mac":"MAC","sandbox":"NETNS"}],"ips":[{"interface":0,"address":"192.168.5.7/32"}]`, true},

	// amazon-vpc-cni-k8s v1.19.0, cmd/routed-eni-cni-plugin/cni.go: a link that isn't there, whose sandbox
	// is a number.
	{"AWS 1.19", "0.4.0", "eni0a1b2c3d4e5", "", "10.0.1.5/32", "169.254.1.1",
		`"interfaces":[{"name":"HOST"},{"name":"eth0","sandbox":"NETNS"},{"name":"dummy0a1b2c3d4e5","mac":"0","sandbox":"1"}],` +
			`"ips":[{"version":"4","interface":1,"address":"10.0.1.5/32"}],"dns":{}`, false},
	// v1.23.0, the same file: the number of a table of routes in place of a MAC.
	{"AWS 1.23", "1.0.0", "eni0a1b2c3d4e5", "", "10.0.1.5/32", "169.254.1.1",
		`"interfaces":[{"name":"HOST"},{"name":"eth0","mac":"254","sandbox":"NETNS"},{"name":"dummy0a1b2c3d4e5","mac":"0","sandbox":"0"}],` +
			`"ips":[{"interface":1,"address":"10.0.1.5/32","gateway":"169.254.1.1"}],"dns":{}`, false},
	{"AWS 1.23, a branch ENI", "1.0.0", "vlan0a1b2c3d4e5", "", "10.0.1.5/32", "169.254.1.1",
		`"interfaces":[{"name":"HOST"},{"name":"eth0","mac":"101","sandbox":"NETNS"},{"name":"dummy0a1b2c3d4e5","mac":"117"}],` +
			`"ips":[{"interface":1,"address":"10.0.1.5/32","gateway":"169.254.1.1"}],"dns":{}`, false},
	// As it was also seen, with the fields of CNI 1.1.0.
	{"AWS with pciID and socketPath", "1.1.0", "eni0a1b2c3d4e5", "", "10.0.1.5/32", "169.254.1.1",
		`"interfaces":[{"name":"HOST"},{"name":"eth0","sandbox":"NETNS","pciID":"254"},{"name":"dummy0a1b2c3d4e5","mac":"0","sandbox":"0","socketPath":"1"}],` +
			`"ips":[{"interface":1,"address":"10.0.1.5/32"}]`, false},

	// azure-container-networking v1.8, cni/network/network.go, convertInterfaceInfoToCniResult: neither a
	// sandbox nor an index. The links of InfiniBand and of multitenancy are added (addSnatInterface).
	{"Azure 1.8", "1.0.0", "azv0a1b2c3d4e5", "", "10.240.0.5/16", "10.240.0.1",
		`"interfaces":[{"name":"eth0","mac":"MAC"}],"ips":[{"address":"10.240.0.5/16","gateway":"10.240.0.1"}],` +
			`"routes":[{"dst":"0.0.0.0/0","gw":"10.240.0.1"}],"dns":{"nameservers":["168.63.129.16"]}`, false},
	{"Azure 1.8, with more links", "1.0.0", "azv0a1b2c3d4e5", "", "10.240.0.5/16", "10.240.0.1",
		`"interfaces":[{"name":"eth0","mac":"MAC"},{"name":"eth1"},{"name":"ib0","mac":"00:15:5d:01:02:03","pciID":"0001:00:02.0"}],` +
			`"ips":[{"interface":0,"address":"10.240.0.5/16","gateway":"10.240.0.1"}],"routes":[{"dst":"0.0.0.0/0","gw":"10.240.0.1"}],"dns":{}`, true},

	// cilium 0125a30d, plugins/cilium-cni/cmd/cmd.go, Add and prepareIP: IPv6 first, routes with an MTU, and
	// gateways that are the host's.
	{"Cilium", "1.0.0", "lxc0a1b2c3d4e5f", "", "fd00:3::8/128 10.0.3.8/32", "10.0.3.1 fd00:3::1",
		`"interfaces":[{"name":"HOST","mac":"02:00:00:00:00:06"},{"name":"eth0","mac":"MAC","sandbox":"NETNS"}],` +
			`"ips":[{"interface":1,"address":"fd00:3::8/128","gateway":"fd00:3::1"},{"interface":1,"address":"10.0.3.8/32","gateway":"10.0.3.1"}],` +
			`"routes":[{"dst":"fd00:3::1/128"},{"dst":"::/0","gw":"fd00:3::1","mtu":1450},{"dst":"10.0.3.1/32"},{"dst":"0.0.0.0/0","gw":"10.0.3.1","mtu":1450}],"dns":{}`, false},

	// weave v2.8.1, plugin/net/cni.go, CmdAdd: the IPAM plugin's result, which has no links.
	{"Weave 2.8", "0.4.0", "vethweplc1", "weave", "10.32.0.5/12", "10.32.0.1",
		`"ips":[{"version":"4","address":"10.32.0.5/12","gateway":"10.32.0.1"}],"dns":{}`, false},

	// antrea v2.7.0, pkg/agent/cniserver: interface_configuration_linux.go, configureContainerLinkVeth, and
	// server.go, updateResultIfaceConfig.
	{"Antrea 2.7", "0.4.0", "web-0a1b2c", "antrea-br", "10.10.1.5/24", "10.10.1.1",
		`"interfaces":[{"name":"HOST"},{"name":"eth0","mac":"MAC","sandbox":"NETNS"}],"ips":[{"version":"4","interface":1,"address":"10.10.1.5/24","gateway":"10.10.1.1"}],` +
			`"routes":[{"dst":"0.0.0.0/0","gw":"10.10.1.1"}],"dns":{}`, false},
}

const foreignMAC = "02:00:00:00:00:05"

// world is a host on which the plugin has attached c1.
func (f *foreign) world(t *testing.T) *world {
	w := newWorld(t, t.TempDir())
	if err := w.netns("c1"); err != nil {
		t.Fatal(err)
	}
	// The node's own address, with which packets of 127.0.0.1 leave.
	for _, line := range []string{"link add node0 type bridge", "address add 172.31.0.1/24 dev node0", "link set node0 up"} {
		w.must("", "ip", strings.Fields(line)...)
	}
	on := func(name, line string) { w.must(name, "ip", strings.Fields(line)...) }
	on("", "link add "+f.host+" address 02:00:00:00:00:06 type veth peer name eth0 address "+foreignMAC+" netns c1")
	if f.bridge != "" {
		on("", "link add "+f.bridge+" type bridge")
		on("", "link set "+f.host+" up master "+f.bridge)
		on("", "address add "+f.gateway+f.addrs[strings.IndexByte(f.addrs, '/'):]+" dev "+f.bridge)
		on("", "link set "+f.bridge+" up")
	}
	on("", "link set "+f.host+" up")
	on("c1", "link set eth0 mtu 1450 up")
	for _, a := range strings.Fields(f.addrs) {
		nodad := ""
		if strings.Contains(a, ":") {
			nodad = " nodad"
		}
		on("c1", "address add "+a+" dev eth0"+nodad)
		if addr, _, _ := strings.Cut(a, "/"); f.bridge == "" {
			on("", "route add "+addr+" dev "+f.host)
		}
	}
	if f.bridge == "" {
		for _, gateway := range strings.Fields(f.gateway) {
			on("c1", "route add "+gateway+" dev eth0")
			on("c1", "neighbour add "+gateway+" lladdr 02:00:00:00:00:06 dev eth0") // they answer for it
		}
	}
	for _, gateway := range strings.Fields(f.gateway) {
		on("c1", "route add default via "+gateway+" dev eth0")
	}
	if f.bridge != "" { // which forwards, and is up, once the kernel has heard of the carrier
		if err := w.reach("c1", netip.MustParseAddr(f.gateway), 60); err != nil {
			t.Fatal(err)
		}
	}
	return w
}

// conf is a following plugin's configuration, with the result before it.
func (f *foreign) conf(plugin, keys, prev string) string {
	if prev == "" {
		prev = strings.NewReplacer("HOST", f.host, "MAC", foreignMAC, "NETNS", netnsPath("c1")).Replace(`{"cniVersion":"` + f.version + `",` + f.prev + `}`)
	}
	return fmt.Sprintf(`{"cniVersion":%q,"name":"net","type":%q%s,"prevResult":%s}`, f.version, plugin, keys, prev)
}

// following are the plugins that follow, in the order of a list.
var following = []struct{ plugin, keys string }{
	{"tuning", `,"mtu":1400,"sysctl":{"net.ipv4.conf.IFNAME.arp_filter":"1"}`},
	{"portmap", `,"snat":true,"runtimeConfig":{"portMappings":[{"hostPort":8080,"containerPort":80,"protocol":"tcp"}]}`},
	{"firewall", ``},
	{"bandwidth", `,"ingressRate":80000000,"ingressBurst":8000000,"egressRate":80000000,"egressBurst":8000000`},
	{"sbr", ``},
}

// TestBehindOthers: each of our following plugins does behind others' results what the reference's does,
// and leaves the container and the host as they were.
func TestBehindOthers(t *testing.T) {
	t.Parallel()
	for _, f := range foreigns {
		t.Run(f.name, func(t *testing.T) {
			t.Parallel()
			theirs, ours := f.world(t), f.world(t)
			before := ours.attached()
			for _, p := range following {
				conf := f.conf(p.plugin, p.keys, "")
				for _, verb := range []string{"ADD", "CHECK", "DEL", "DEL"} {
					if verb == "CHECK" && f.version < "0.4.0" {
						continue
					}
					a := ours.chainedCall(oursDir(), p.plugin, verb, "", conf)
					if want, got := canonical(t, theirs.chainedCall(referenceDir(), p.plugin, verb, "", conf)), canonical(t, a); !sameAnswer(want, got) {
						t.Errorf("%s %s: the reference answers %s, ours %s (%s)", p.plugin, verb, want, got, a.stdout)
					}
				}
				if after := ours.attached(); after != before {
					t.Errorf("%s left\n%s", p.plugin, difference(before, after))
				}
			}
		})
	}
}

// attached is what following plugins change of c1 and its host, and take back. They leave it to the end
// of the namespace what sbr has done to the routes, and tuning to sysctls, and to the end of the link
// what bandwidth has set on its host end. The reference's do so too.
func (w *world) attached() string {
	w.t.Helper()
	var b strings.Builder
	for _, name := range []string{"", "c1"} {
		for _, args := range []string{"-d link", "-o address", "rule", "-6 rule"} {
			b.WriteString(w.must(name, "ip", strings.Fields(args)...))
		}
	}
	b.WriteString(w.must("", "ip", "route", "show", "table", "all") + w.must("", "ip", "-6", "route", "show", "table", "all"))
	for line := range strings.Lines(w.must("", "nft", "list", "ruleset")) {
		if owned.MatchString(line) || strings.Contains(line, "elements = {") {
			b.WriteString(line)
		}
	}
	b.WriteString(w.must("", "sh", "-c", "find /run /var/lib -type f ! -path '/run/netns/*' ! -name '@*' -path '*c1*'"))
	return unsteady.ReplaceAllString(volatile.ReplaceAllString(b.String(), ""), "")
}

// unsteady are the states of IPv6 addresses that have just been made, and the queueing discipline of a
// link.
var unsteady = regexp.MustCompile(`tentative|(valid|preferred)_lft \S+|expires \S+|qdisc \S+`)

// sameAnswer compares answers but for an ifb's MAC, which is random in the reference, and an empty
// object dns, which the reference leaves out.
func sameAnswer(theirs, ours string) bool {
	return immaterial.ReplaceAllString(theirs, "") == immaterial.ReplaceAllString(ours, "")
}

var immaterial = regexp.MustCompile(`"dns":\{\},|"mac":"[0-9a-f:]+",("name":"bwp)`)

// The whole list behind each: a published port is reached, and nothing is left.
func TestListBehindOthers(t *testing.T) {
	t.Parallel()
	for _, f := range foreigns {
		t.Run(f.name, func(t *testing.T) {
			t.Parallel()
			w := f.world(t)
			before, prev := w.attached(), ""
			added := following[:0:0]
			for _, p := range following {
				a := w.chainedCall(oursDir(), p.plugin, "ADD", "", f.conf(p.plugin, p.keys, prev))
				if a.status == 0 { // which plugins refuse what, TestBehindOthers compares
					prev, added = string(a.stdout), append(added, p)
				}
			}
			if err := w.published(); (err == nil) == f.unpublished {
				t.Errorf("the published port: %v", err)
			}
			for _, p := range slices.Backward(added) {
				if a := w.chainedCall(oursDir(), p.plugin, "DEL", "", f.conf(p.plugin, p.keys, prev)); a.status != 0 {
					t.Errorf("DEL %s: %s", p.plugin, a.stdout)
				}
			}
			if after := w.attached(); after != before {
				t.Errorf("left\n%s", difference(before, after))
			}
		})
	}
}

// published is an error if port 8080 of the host isn't port 80 of c1.
func (w *world) published() error {
	var l net.Listener
	if err := w.do("c1", func() (err error) {
		l, err = net.Listen("tcp4", ":80")
		return err
	}); err != nil {
		return err
	}
	defer l.Close()
	go func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			_, _ = io.WriteString(conn, "c1")
			conn.Close()
		}
	}()
	return w.do("", func() error {
		conn, err := net.DialTimeout("tcp4", "127.0.0.1:8080", 5*time.Second)
		if err != nil {
			return err
		}
		defer conn.Close()
		if text, err := io.ReadAll(conn); err != nil || string(text) != "c1" {
			return fmt.Errorf("the port answers %q, %v", text, err)
		}
		return nil
	})
}
