// SPDX-License-Identifier: Apache-2.0

package main

import (
	"fmt"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// A deviceWorld is a host with the links up0 and far0, of which the first is the masters' and has
// the default route, and two containers.
func deviceWorld(t *testing.T) *world {
	w := newWorld(t, t.TempDir())
	for _, name := range []string{"c1", "c2"} {
		if err := w.netns(name); err != nil {
			t.Fatal(err)
		}
		w.must(name, "ip", "link", "add", "in0", "type", "veth", "peer", "name", "in1")
	}
	if err := linkFakeIPAM(filepath.Join(w.dir, "fake")); err != nil {
		t.Fatal(err)
	}
	for _, line := range []string{"link add up0 address 02:11:22:00:00:01 type veth peer name far0", "link set up0 up", "link set far0 up",
		"address add 192.0.2.1/24 dev up0", "route add default via 192.0.2.9", "link add eth0 type veth peer name far1"} {
		w.must("", "ip", strings.Fields(line)...)
	}
	return w
}

// TestDeviceParity: the reference and ours refuse the same, give the same results, make the same of
// the containers, and agree on CHECK. Ours leaves nothing behind what the reference refuses to take
// away.
func TestDeviceParity(t *testing.T) {
	t.Parallel()
	macvlan := func(keys, ipam string) string {
		return `{"cniVersion":"1.1.0","name":"net","type":"macvlan"` + keys + `,"ipam":{` + ipam + `}}`
	}
	const (
		local   = `"type":"host-local","subnet":"10.1.2.0/24","routes":[{"dst":"0.0.0.0/0"}]`
		static  = `"type":"static","addresses":[{"address":"10.1.2.9/24","gateway":"10.1.2.1"}]`
		static6 = `"type":"static","addresses":[{"address":"fd00:1::9/64"},{"address":"10.1.2.9/24"}],"routes":[{"dst":"fd99::/64","gw":"fd00:1::1"},{"dst":"172.16.0.0/12","gw":"10.1.2.7","priority":7}]`
		up      = `,"master":"up0"`
		dns     = `,"dns":{"nameservers":["1.1.1.1"],"search":["a"]}`
	)
	cases := []parityCase{
		{name: "default master", conf: macvlan("", local)},
		{name: "static", conf: macvlan(up, static)},
		{name: "IPv6", conf: macvlan(up, static6)},
		{name: "IPv6 gateway", conf: macvlan(up, `"type":"host-local","ranges":[[{"subnet":"fd00:1::/64"}]],"routes":[{"dst":"::/0"}]`)},
		{name: "private", conf: macvlan(up+`,"mode":"private"`, local)},
		{name: "vepa", conf: macvlan(up+`,"mode":"vepa"`, local)},
		{name: "bridge", conf: macvlan(up+`,"mode":"bridge"`, local)},
		{name: "passthru", conf: macvlan(up+`,"mode":"passthru"`, local)},
		{name: "unknown mode", conf: macvlan(up+`,"mode":"x"`, local)},
		{name: "mode of a number", conf: macvlan(up+`,"mode":"3"`, local)},
		{name: "mtu", conf: macvlan(up+`,"mtu":1400`, local)},
		{name: "mtu too large", conf: macvlan(up+`,"mtu":1501`, local)},
		{name: "mtu negative", conf: macvlan(up+`,"mtu":-1`, local)},
		{name: "mac", conf: macvlan(up+`,"mac":"02:11:22:33:44:55"`, local)},
		{name: "mac by CNI_ARGS", conf: macvlan(up+`,"mac":"02:11:22:33:44:55"`, local), args: "IgnoreUnknown=1;MAC=02:11:22:33:44:66"},
		{name: "mac by runtimeConfig", conf: macvlan(up+`,"mac":"02:11:22:33:44:55","runtimeConfig":{"mac":"02:11:22:33:44:77"}`, local), args: "IgnoreUnknown=1;MAC=02:11:22:33:44:66"},
		{name: "mac by args.cni", conf: macvlan(up+`,"args":{"cni":{"mac":"nonsense"}}`, local)},
		{name: "bad mac", conf: macvlan(up+`,"mac":"zz"`, local)},
		{name: "multicast mac", conf: macvlan(up+`,"mac":"01:11:22:33:44:55"`, local)},
		{name: "link in container", conf: macvlan(`,"master":"in0","linkInContainer":true`, local)},
		{name: "link in container missing", conf: macvlan(up+`,"linkInContainer":true`, local)},
		{name: "link in container by default", conf: macvlan(`,"linkInContainer":true`, local)},
		{name: "master missing", conf: macvlan(`,"master":"none0"`, local)},
		{name: "broadcast queue", conf: macvlan(up+`,"bcqueuelen":77`, local)},
		{name: "dns", conf: macvlan(up+dns, local)},
		{name: "no IPAM", conf: macvlan(up, "")},
		{name: "unknown argument", conf: macvlan(up, local), args: "FOO=bar"},
		{name: "kubernetes arguments", conf: macvlan(up, local), args: "IgnoreUnknown=1;K8S_POD_NAME=x"},
		{name: "requested address", conf: macvlan(up+`,"runtimeConfig":{"ips":["10.1.2.60/24"]}`, local)},
		{name: "exhausted", conf: macvlan(up, `"type":"host-local","subnet":"10.1.2.0/30"`)},
		{name: "IPAM of another program", conf: macvlan(up, `"type":"fake-ipam","result":{"cniVersion":"1.1.0","ips":[{"address":"10.1.2.9/24","gateway":"10.1.2.1"}],"routes":[{"dst":"0.0.0.0/0"}]}`)},
		{name: "IPAM that fails", conf: macvlan(up, `"type":"fake-ipam","fail":"ADD"`)},
		{name: "keys in any case", conf: macvlan(`,"MASTER":"up0","BCQueueLen":9,"MTU":1300`, local)},
	}
	for _, v := range []string{"0.1.0", "0.2.0", "0.3.0", "0.3.1", "0.4.0", "1.0.0"} {
		conf := func(text string) string { return strings.Replace(text, "1.1.0", v, 1) }
		cases = append(cases, parityCase{name: "version " + v, conf: conf(macvlan(up+dns, `"type":"host-local","ranges":[[{"subnet":"10.1.2.0/24"}],[{"subnet":"fd00:1::/64"}]],"routes":[{"dst":"0.0.0.0/0"},{"dst":"172.16.0.0/12","gw":"10.1.2.7"}]`))},
			parityCase{name: "no IPAM of version " + v, conf: conf(macvlan(up, ""))})
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			var seen [2][]string
			worlds := [2]*world{deviceWorld(t), deviceWorld(t)}
			for i, plugins := range []string{referenceDir(), oursDir()} {
				for _, step := range []string{"ADD c1", "ADD c2", "CHECK c1", "ADD c1", "DEL c1", "DEL c1", "DEL c2"} {
					verb, container, _ := strings.Cut(step, " ")
					seen[i] = append(seen[i], step+": "+c.call(worlds[i], plugins, verb, container), step+" leaves\n"+deviceState(worlds[i]))
				}
			}
			dirty := false // the reference has left something of what it refused
			for i := range seen[0] {
				step, what, _ := strings.Cut(seen[0][i], ": ")
				switch {
				case what == refused && strings.HasPrefix(step, "CHECK"): // by a mistake of the reference's
				case dirty && strings.Contains(step, "leaves"), what == refused && strings.HasPrefix(step, "DEL"):
				case seen[0][i] != seen[1][i]:
					t.Errorf("reference (-) and ours (+)\n%s", difference(seen[0][i], seen[1][i]))
				}
				dirty = dirty || what == refused && (i < 4 || strings.HasPrefix(step, "DEL"))
			}
			if err := worlds[1].noTrace(); err != nil {
				t.Error(err)
			}
		})
	}
}

// deviceOwn is what each side chooses for itself, MACs other than the tests', indexes, aliases; and whether a duplicate was found yet.
var deviceOwn = regexp.MustCompile(` dadfailed|(link/ether|address) ([13-9a-f][0-9a-f]|0[013-9a-f]|[2-9a-f][0-9a-f]|02:[02-9a-f])[0-9a-f:]+ ?|(?m)^\s*alias .*$|link-netnsid \d+`)

// deviceState is what can be seen of the containers' links, and the leases.
func deviceState(w *world) string {
	var b strings.Builder
	for _, name := range w.nets {
		w.settle6(name)
		for _, args := range []string{"-d link show eth0", "address show dev eth0", "-4 route show table all", "-6 route show table all"} {
			out, err := w.exec(name, "ip", strings.Fields(args)...)
			if err != nil {
				out = "error\n"
			}
			for _, line := range tidy(deviceOwn.ReplaceAllString(out, "")) {
				fmt.Fprintf(&b, "%s %s: %s\n", name, args, line)
			}
		}
		for _, key := range []string{"ipv4/conf/eth0/arp_notify", "ipv6/conf/eth0/ndisc_notify", "ipv6/conf/eth0/accept_dad", "ipv6/conf/eth0/keep_addr_on_down", "ipv6/conf/eth0/disable_ipv6"} {
			out, err := w.exec(name, "cat", "/proc/sys/net/"+key)
			if err != nil {
				out = "error\n"
			}
			if key == "ipv6/conf/eth0/ndisc_notify" && !strings.Contains(b.String(), "fd00:") {
				continue // ours leaves alone what has no IPv6 addresses
			}
			fmt.Fprintf(&b, "%s %s: %s", name, key, out)
		}
	}
	out, _ := w.exec("", "grep", "-r", "--exclude-dir=.swiftcni", "", "/var/lib/cni/networks/net")
	return b.String() + strings.Join(tidy(out), "\n")
}
