// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"
)

// TestParity gives each configuration to the reference plugins and to swiftcni, each in a world of
// its own, and compares what a runtime, a container and a host can see of the two: results in all
// versions, addresses, routes, link and port settings, sysctls, leases, and who can be reached;
// after ADD of two containers, CHECK, and DEL.
func TestParity(t *testing.T) {
	for _, c := range parityCases() {
		if !strings.Contains(strings.ReplaceAll(c.conf+c.args, `"::/0"}`, ""), "::") {
			// Without an IPv6 address ours leaves the link's own to the kernel's rules.
			c.except = "accept_dad"
		}
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			theirs, ours := newWorld(t, t.TempDir()), newWorld(t, t.TempDir())
			for _, w := range []*world{theirs, ours} {
				if err := linkFakeIPAM(filepath.Join(w.dir, "fake")); err != nil {
					t.Fatal(err)
				}
				for _, name := range []string{"c1", "c2"} {
					if err := w.netns(name); err != nil {
						t.Fatal(err)
					}
				}
				for _, line := range c.before {
					w.must("", "ip", strings.Fields(line)...)
				}
			}
			c.compare(theirs, ours)
			ours.finish()
		})
	}
}

type parityCase struct {
	name   string
	conf   string
	args   string   // CNI_ARGS
	except string   // what the state may differ in
	before []string // arguments of ip, on the host
}

// mayRefuse: the reference fails a CHECK by its own mistake where the bridge's MAC follows its
// ports, and a DEL where arguments or addresses turned invalid.
func mayRefuse(step string) bool {
	return strings.HasPrefix(step, "CHECK") || strings.HasPrefix(step, "DEL")
}

// compare takes both worlds through the life of two attachments. A step that the reference refuses
// must be refused, except for [mayRefuse]. If the reference leaves the remains of a failed ADD,
// there is nothing to compare, and ours must have left nothing.
func (c *parityCase) compare(theirs, ours *world) {
	t, dirty := ours.t, false
	for _, step := range c.steps() {
		a, b := step.on(theirs, referenceDir()), step.on(ours, oursDir())
		switch {
		case step.fresh != "" && a == refused && b == refused:
			if err := ours.noTraceOf(step.fresh); err != nil {
				t.Error(err)
			}
			dirty = true
		case step.name == "state" && dirty, b == "" && a == refused && mayRefuse(step.name):
		case a != b:
			t.Errorf("%s: reference (-) and ours (+)\n%s", step.name, difference(a, b))
		}
	}
}

// refused is what is seen of a call that fails.
const refused = "refused"

// base is filled into by the cases.
const base = `{"cniVersion":"1.1.0","name":"net","type":"bridge","bridge":"br0","ipMasqBackend":"nftables"%s}`

func l3(keys, ipam string) string {
	return fmt.Sprintf(base, keys+`,"ipam":{"type":"host-local",`+ipam+`}`)
}

const (
	subnet4 = `"subnet":"10.1.2.0/24"`
	ranges6 = `"ranges":[[{"subnet":"fd00:1::/64"}]]`
	dual    = `"ranges":[[{"subnet":"10.1.2.0/24"}],[{"subnet":"fd00:1::/64"}]]`
)

func parityCases() []parityCase {
	list := []parityCase{
		{name: "l2", conf: fmt.Sprintf(base, ``)},
		{name: "l2 container down", conf: fmt.Sprintf(base, `,"disableContainerInterface":true`)},
		{name: "plain", conf: l3(``, subnet4)},
		{name: "gateway", conf: l3(`,"isGateway":true`, subnet4)},
		{name: "default gateway", conf: l3(`,"isDefaultGateway":true,"ipMasq":true`, dual)},
		{name: "default gateway with a default route that names one", conf: l3(`,"isDefaultGateway":true`,
			subnet4+`,"routes":[{"dst":"0.0.0.0/0","gw":"10.1.2.9"}]`)},
		{name: "mtu", conf: l3(`,"mtu":1400,"isGateway":true`, subnet4)},
		{name: "negative mtu", conf: l3(`,"mtu":-5`, subnet4)},
		{name: "hairpin", conf: l3(`,"hairpinMode":true`, subnet4)},
		{name: "isolation", conf: l3(`,"portIsolation":true`, subnet4)},
		{name: "promiscuous", conf: l3(`,"promiscMode":true`, subnet4)},
		{name: "duplicate address detection", conf: l3(`,"enabledad":true`, ranges6)},
		{name: "own gateway", conf: l3(`,"isGateway":true`, subnet4+`,"gateway":"10.1.2.254"`)},
		{name: "range", conf: l3(``, subnet4+`,"rangeStart":"10.1.2.100","rangeEnd":"10.1.2.120"`)},
		{name: "two ranges", conf: l3(``, `"ranges":[[{"subnet":"10.1.2.0/30"},{"subnet":"10.1.3.0/24"}]]`)},
		{name: "one IPv4 and two IPv6", conf: l3(`,"isGateway":true`,
			`"ranges":[[{"subnet":"10.1.2.0/24"}],[{"subnet":"fd00:1::/64"}],[{"subnet":"fd00:2::/64"}]]`)},
		{name: "routes", conf: l3(`,"isGateway":true`, dual+`,"routes":[{"dst":"0.0.0.0/0"},{"dst":"::/0"},{"dst":"192.168.0.0/16","gw":"10.1.2.7","priority":77},`+
			`{"dst":"192.168.0.0/16","gw":"10.1.2.8","priority":78},{"dst":"172.16.0.0/12","table":500}]`)},
		{name: "several gateways", conf: l3(``, subnet4+`,"routes":[{"dst":"192.168.0.0/16","gw":"10.1.2.7"},{"dst":"192.168.0.0/16","gw":"10.1.2.8"}]`)},
		{name: "several gateways of IPv6", conf: l3(``, ranges6+`,"routes":[{"dst":"fd99::/64","gw":"fd00:1::7"},{"dst":"fd99::/64","gw":"fd00:1::8"}]`)},
		{name: "identical routes", conf: l3(``, subnet4+`,"routes":[{"dst":"192.168.0.0/16"},{"dst":"192.168.0.0/16"}]`)},
		{name: "route of zero fields", conf: l3(``, subnet4+`,"routes":[{"dst":"192.168.0.0/16","mtu":0,"priority":0,"table":0,"scope":0}]`)},
		{name: "dns", conf: l3(`,"dns":{"nameservers":["1.1.1.1"],"domain":"a.b","search":["c","d"],"options":["ndots:2"]}`, subnet4)},
		{name: "mac by CNI_ARGS", conf: l3(``, subnet4), args: "IgnoreUnknown=1;MAC=02:11:22:33:44:55"},
		{name: "mac precedence", conf: l3(`,"args":{"cni":{"mac":"02:11:22:33:44:66"}},"runtimeConfig":{"mac":"02:11:22:33:44:77"}`, subnet4),
			args: "IgnoreUnknown=1;MAC=02:11:22:33:44:55"},
		{name: "unknown argument", conf: l3(``, subnet4), args: "FOO=bar"},
		{name: "argument without value", conf: l3(``, subnet4), args: "FOO"},
		{name: "kubernetes arguments", conf: l3(``, subnet4), args: "IgnoreUnknown=1;K8S_POD_NAME=x;K8S_POD_NAMESPACE=y"},
		{name: "address by CNI_ARGS", conf: l3(``, subnet4), args: "IgnoreUnknown=1;IP=10.1.2.50"},
		{name: "address by runtimeConfig", conf: l3(`,"runtimeConfig":{"ips":["10.1.2.60/24"]}`, subnet4)},
		{name: "address by args", conf: l3(`,"args":{"cni":{"ips":["10.1.2.70"]}}`, subnet4)},
		{name: "address outside", conf: l3(`,"args":{"cni":{"ips":["10.9.2.70"]}}`, subnet4)},
		{name: "address of the gateway", conf: l3(``, subnet4), args: "IgnoreUnknown=1;IP=10.1.2.1"},
		{name: "network address", conf: l3(``, subnet4+`,"rangeStart":"10.1.2.0"`)},
		{name: "ranges by runtimeConfig", conf: l3(`,"runtimeConfig":{"ipRanges":[[{"subnet":"10.7.0.0/24"}]]}`, ranges6)},
		{name: "exhausted", conf: l3(``, `"subnet":"10.1.2.0/30"`)},
		{name: "keys in any case", conf: l3(`,"ISGATEWAY":true,"mTu":1300`, `"SubNet":"10.1.2.0/24"`)},
		{name: "duplicate keys", conf: l3(`,"mtu":1300,"mtu":1280`, subnet4)},
		{name: "bridge with an address of the subnet", conf: l3(`,"isGateway":true`, subnet4),
			before: []string{"link add br0 type bridge", "link set br0 up", "addr add 10.1.2.1/24 dev br0"}},
		{name: "bridge with another address", conf: l3(`,"isGateway":true`, subnet4),
			before: []string{"link add br0 type bridge", "addr add 10.9.0.1/24 dev br0"}},
		{name: "bridge with another address, forced", conf: l3(`,"isGateway":true,"forceAddress":true`, subnet4),
			before: []string{"link add br0 type bridge", "addr add 10.9.0.1/24 dev br0"}},
		{name: "bridge with another length", conf: l3(`,"isGateway":true`, subnet4),
			before: []string{"link add br0 type bridge", "addr add 10.1.2.1/16 dev br0"}},
		{name: "bridge with a disjoint IPv6 address", conf: l3(`,"isGateway":true`, ranges6),
			before: []string{"link add br0 type bridge", "addr add fd00:9::1/64 dev br0 nodad"}},
		{name: "bridge with an overlapping IPv6 address", conf: l3(`,"isGateway":true`, ranges6),
			before: []string{"link add br0 type bridge", "addr add fd00:1::99/48 dev br0 nodad"}},
		{name: "overlapping IPv6 address, forced", conf: l3(`,"isGateway":true,"forceAddress":true`, ranges6),
			before: []string{"link add br0 type bridge", "addr add fd00:1::99/48 dev br0 nodad"}},
		{name: "two IPv4 sets, forced", conf: l3(`,"isGateway":true,"forceAddress":true`,
			`"ranges":[[{"subnet":"10.1.2.0/24"}],[{"subnet":"10.1.3.0/24"}]]`)},
		{name: "veth of the bridge's name", conf: l3(``, subnet4), before: []string{"link add br0 type veth peer name other"}},
		{name: "spoof check", conf: l3(`,"macspoofchk":true`, subnet4)},
		{name: "default gateway with a default route in another table", conf: l3(`,"isDefaultGateway":true`, subnet4+`,"routes":[{"dst":"0.0.0.0/0","table":200}]`)},
		{name: "default gateway with an IPv6 default route in another table", conf: l3(`,"isDefaultGateway":true`, ranges6+`,"routes":[{"dst":"::/0","table":200}]`)},
		{name: "default gateway with a default route of another priority", conf: l3(`,"isDefaultGateway":true`, subnet4+`,"routes":[{"dst":"0.0.0.0/0","priority":77}]`)},
		{name: "IPv6 routes of any scope", conf: l3(`,"isGateway":true`, ranges6+`,"routes":[{"dst":"fd91::/64","scope":200},{"dst":"fd92::/64","scope":253},`+
			`{"dst":"fd93::/64","scope":254},{"dst":"fd94::/64","scope":255},{"dst":"fd95::/64","scope":253,"gw":"fd00:1::7"}]`)},
		{name: "empty values by CNI_ARGS", conf: l3(``, subnet4), args: "IgnoreUnknown=1;IP=;MAC=;GATEWAY="},
		{name: "address twice by CNI_ARGS", conf: l3(``, subnet4), args: "IgnoreUnknown=1;IP=10.1.2.8;IP=10.1.2.9"},
		{name: "address by CNI_ARGS that nobody reads", conf: fmt.Sprintf(base, ``), args: "IgnoreUnknown=1;IP=nonsense"},
		{name: "backend that nobody reads", conf: l3(`,"ipMasqBackend":"pf"`, subnet4)},
		{name: "addresses twice", conf: l3(`,"runtimeConfig":{"ips":["10.1.2.50"],"ips":["10.1.2.60"]},"args":{"cni":{"ips":["10.1.2.70"],"ips":[]}}`, subnet4)},
		{name: "ipam taken back", conf: l3(``, subnet4+`},"ipam":null,"x":{"y":1`)},
		{name: "args taken back", conf: l3(`,"args":{"cni":{"ips":["10.1.2.50"]}},"args":null`, subnet4)},
		{name: "args.cni taken back", conf: l3(`,"args":{"cni":{"ips":["10.1.2.50"]},"cni":null}`, subnet4)},
		{name: "gateway taken back", conf: l3(``, subnet4+`,"gateway":"10.1.2.7","gateway":null`)},
		{name: "route fields taken back", conf: l3(``, subnet4+`,"routes":[{"dst":"172.16.0.0/12","table":7,"table":null,"scope":null,"priority":null,"mtu":null}]`)},
	}
	for _, v := range []string{"", "0.1.0", "0.2.0", "0.3.0", "0.3.1", "0.4.0", "1.0.0"} {
		conf := l3(`,"isGateway":true,"dns":{"nameservers":["1.1.1.1"]}`, dual+`,"routes":[{"dst":"0.0.0.0/0"},{"dst":"::/0","gw":"fd00:1::1"},{"dst":"192.168.0.0/16","gw":"10.1.2.7"}]`)
		list = append(list, parityCase{name: "version " + v, conf: strings.Replace(conf, "1.1.0", v, 1)})
		odd := l3(``, subnet4+`,"routes":[{"dst":"::/0"},{"dst":"192.168.0.0/16","gw":"10.1.2.7","table":77,"priority":5}]`)
		list = append(list, parityCase{name: "routes of version " + v, conf: strings.Replace(odd, "1.1.0", v, 1)})
		list = append(list, parityCase{name: "bare version " + v, conf: strings.Replace(l3(``, subnet4), "1.1.0", v, 1)})
	}
	return append(list, delegatedCases()...)
}

// A parityStep is a thing done in both worlds; on returns what was seen, without what may differ.
type parityStep struct {
	name  string
	fresh string // the container that this is the first ADD of
	on    func(w *world, plugins string) string
}

func (c *parityCase) steps() []parityStep {
	step := func(verb, container string) parityStep {
		return parityStep{name: verb + " " + container, on: func(w *world, plugins string) string { return c.call(w, plugins, verb, container) }}
	}
	fresh := func(container string) parityStep {
		s := step("ADD", container)
		s.fresh = container
		return s
	}
	seen := parityStep{name: "state", on: func(w *world, _ string) string { return observe(w, c.except) }}
	return []parityStep{fresh("c1"), seen, fresh("c2"), seen, step("CHECK", "c1"), step("ADD", "c1"),
		step("DEL", "c1"), step("DEL", "c1"), seen, step("DEL", "c2"), seen}
}

func (c *parityCase) call(w *world, plugins, verb, container string) string {
	in := call{verb: verb, container: container, ifName: "eth0", conf: []byte(c.conf), plugins: plugins,
		env: map[string]string{"CNI_ARGS": c.args, "CNI_PATH": plugins + ":" + filepath.Join(w.dir, "fake")}}
	before := w.results[in.owner()]
	a, err := w.run(in)
	if err != nil {
		w.t.Fatal(err)
	}
	if a.status != 0 {
		if before != nil {
			w.results[in.owner()] = before
		}
		// Codes and texts are told apart elsewhere; here it matters who refuses what.
		w.t.Logf("%s %s: %s", verb, container, a.stdout)
		return refused
	}
	return normal(a.stdout)
}

var legacyGateway = regexp.MustCompile(`("dst": "0.0.0.0/0"),\s*"gw": "10.1.2.1"`)

// normal is a result without the MACs and link names that each side chooses in its own way. The
// layout stays, to the byte.
func normal(stdout []byte) string {
	var r struct {
		Interfaces []struct{ Name, MAC, Sandbox string }
	}
	// Where the form of 0.2.0 has a route without a gateway, we name the address's own.
	text := legacyGateway.ReplaceAllString(string(stdout), "$1")
	if json.Unmarshal(stdout, &r) == nil {
		for i, l := range r.Interfaces {
			if i == 1 {
				text = strings.ReplaceAll(text, l.Name, "HOST-END")
			}
			if !strings.HasPrefix(l.MAC, "02:11:22") {
				text = strings.ReplaceAll(text, `"`+l.MAC+`"`, `"MAC"`)
			}
		}
	}
	return text
}

// observe describes what can be seen from outside of a plugin.
func observe(w *world, except string) string {
	var b strings.Builder
	show := func(name, title, program string, args ...string) {
		if except != "" && strings.Contains(title, except) {
			return
		}
		out, err := w.exec(name, program, args...)
		if err != nil {
			out = "error\n"
		}
		for _, line := range tidy(out) {
			fmt.Fprintf(&b, "%s%s: %s\n", name, title, line)
		}
	}
	for _, name := range []string{"c1", "c2"} {
		w.settle6(name)
		show(name, " link", "ip", "-d", "link", "show", "eth0")
		show(name, " addresses", "ip", "address", "show", "dev", "eth0")
		for _, family := range []string{"-4", "-6"} {
			show(name, " routes"+family, "ip", family, "route", "show", "table", "all")
		}
		for _, key := range []string{"ipv4/conf/eth0/arp_notify", "ipv6/conf/eth0/accept_dad", "ipv6/conf/eth0/keep_addr_on_down",
			"ipv6/conf/eth0/disable_ipv6", "ipv6/conf/eth0/enhanced_dad", "ipv6/conf/lo/disable_ipv6"} {
			show(name, " "+key, "cat", "/proc/sys/net/"+key)
		}
	}
	show("", "bridge", "ip", "-d", "link", "show", "dev", "br0")
	show("", "bridge addresses", "ip", "-o", "address", "show", "dev", "br0", "scope", "global")
	show("", "ports", "bridge", "-d", "link", "show")
	for _, key := range []string{"ipv4/ip_forward", "ipv6/conf/all/forwarding", "ipv6/conf/br0/accept_ra"} {
		show("", key, "cat", "/proc/sys/net/"+key)
	}
	show("", "leases", "grep", "-r", "", "/var/lib/cni/networks/net")
	return b.String()
}

// settle6 waits for the kernel's own routes to a container's IPv6 addresses, which it adds in its
// own time (addrconf_dad_work, net/ipv6/addrconf.c), also where an address isn't looked for
// duplicates of.
func (w *world) settle6(name string) {
	count := func(args ...string) (n int) {
		out, err := w.exec(name, "ip", append([]string{"-6", "-o"}, args...)...)
		if err != nil {
			return 0 // there's no link
		}
		for line := range strings.Lines(out) {
			if !strings.Contains(line, "fe80") && !strings.Contains(line, "tentative") { // a duplicate stays so
				n++
			}
		}
		return n
	}
	for deadline := time.Now().Add(time.Minute); time.Now().Before(deadline); time.Sleep(10 * time.Millisecond) {
		if count("route", "show", "table", "local", "type", "local", "dev", "eth0") >= count("address", "show", "dev", "eth0") {
			return
		}
	}
	w.t.Errorf("the kernel made no route to the IPv6 addresses of %s", name)
}

var uninteresting = []*regexp.Regexp{
	// The kernel's own address of the link comes up in its own time.
	regexp.MustCompile(`(?m)^.*(fe80::|multicast ff00::|anycast fe80::).*$`),
	// Ours skips duplicate address detection by flag, the reference by sysctl; both have accept_dad
	// 0 where IPv6 is used. Of the gateway's address ours skips it as well.
	regexp.MustCompile(` (nodad|tentative)`),
	regexp.MustCompile(`(?m)^\d+: `), // indexes
	regexp.MustCompile(`link-netns\S* \S+`),
	regexp.MustCompile(`@\S+:`),
	regexp.MustCompile(`veth[0-9a-f]{8}`),
	regexp.MustCompile(`(link/ether|permaddr|designated_root|bridge_id|root_id|address) [0-9a-f.:]{17,}`),
	regexp.MustCompile(`(bridge|root)_(id|port) \S+|designated_\w+ \S+`),
	regexp.MustCompile(`\w+_timer +\S+`),
	regexp.MustCompile(`(numtxqueues|numrxqueues|gso_\S+|tso_\S+|gro_\S+|qlen|group_fwd\S*) \S+`),
	regexp.MustCompile(`fe80::[0-9a-f:]+`),
	regexp.MustCompile(`state (LEARNING|LISTENING|FORWARDING|BLOCKING|disabled|forwarding|learning|listening)`),
	regexp.MustCompile(`(?m)^.*\d+ expires.*$`),
	regexp.MustCompile(`fdb_n_learned \d+`),
	regexp.MustCompile(`port_(id|no) \S+`),
}

// tidy removes what differs from run to run.
func tidy(text string) []string {
	for _, r := range uninteresting {
		text = r.ReplaceAllString(text, "")
	}
	lines := strings.Split(text, "\n")
	for i := range lines {
		lines[i] = strings.Join(strings.Fields(lines[i]), " ")
	}
	slices.Sort(lines)
	return slices.Compact(lines)
}

// difference lists the lines that only one of two texts has.
func difference(a, b string) string {
	x, y := strings.Split(a, "\n"), strings.Split(b, "\n")
	var out bytes.Buffer
	for _, l := range x {
		if !slices.Contains(y, l) {
			fmt.Fprintf(&out, "- %s\n", l)
		}
	}
	for _, l := range y {
		if !slices.Contains(x, l) {
			fmt.Fprintf(&out, "+ %s\n", l)
		}
	}
	return out.String()
}
