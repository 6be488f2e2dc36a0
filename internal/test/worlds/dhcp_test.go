// SPDX-License-Identifier: Apache-2.0

package worlds_test

import (
	"encoding/json"
	"fmt"
	"io"
	"regexp"
	"strconv"
	"strings"
	"testing"

	"github.com/swiftcni/swiftcni/internal/tool/build"
)

// A dhcp is a host with a bridge, a DHCP server, and the reference's daemon that asks it for
// containers.
type dhcp struct {
	*host
	plugins string // CNI_PATH
	end     func()
}

// The server's address is its network's router, too.
const dhcpServer = "10.77.0.1"

const dhcpConf = `{"cniVersion":"1.0.0","name":"lan","type":"bridge","bridge":"br0"%s,
	"ipam":{"type":"dhcp","daemonSocketPath":"/run/dhcp/sock","request":[{"option":"121"}],"provide":[{"option":"host-name","fromArg":"NERDCTL_CNI_DHCP_HOSTNAME"}]}}`

// newDHCP starts the daemon of a release of the reference, and dnsmasq, which is on the bridge or
// behind a port of it.
func newDHCP(t *testing.T, release, place string, options ...string) *dhcp {
	t.Helper()
	dir, err := build.ReferencePlugins(io.Discard, repository, release, "ipam/dhcp")
	if err != nil {
		t.Fatal(err)
	}
	d := &dhcp{host: newHost(t), plugins: "/opt/cni/bin:/run/delegates"}
	// A bridge without a MAC of its own would have its ports', and neighbours would know it by one
	// that has left.
	d.do("sh", "-ec", "mkdir /run/delegates /run/dhcp; ln -s "+dir+"/dhcp /run/delegates/"+
		"; ip link add br0 address 02:00:00:00:00:01 type bridge; ip link set br0 up")
	link := "br0"
	if place != theHost {
		link = "lan0"
		d.do("sh", "-ec", "ip netns add "+place+"; ip link add "+wireLink+" master br0 up type veth peer lan0 netns "+place+
			"; ip -n "+place+" link set lan0 up")
	}
	if _, err := d.from(place, "ip", "address", "add", dhcpServer+"/24", "dev", link); err != nil {
		t.Fatal(err)
	}
	// Without no-ping the server asks for three seconds whether an address is in use.
	args := append([]string{"--conf-file=/dev/null", "--port=0", "--no-ping", "--dhcp-authoritative", "--interface=" + link, "--bind-interfaces",
		"--user=root", "--pid-file=", "--dhcp-range=10.77.0.10,10.77.0.250,255.255.255.0,1h", "--dhcp-leasefile=/run/dhcp/leases",
		"--log-dhcp", "--log-facility=/run/dhcp/log"}, options...)
	if _, err := d.from(place, "dnsmasq", args...); err != nil {
		t.Fatal(err)
	}
	d.end = d.daemon("/run/delegates/dhcp", "daemon", "-socketpath", "/run/dhcp/sock")
	t.Cleanup(d.end)
	eventually(t, "the daemon's socket", func() bool { _, err := d.Run("test", "-S", "/run/dhcp/sock"); return err == nil })
	return d
}

// call runs bridge for a container.
func (d *dhcp) call(verb, container, conf string, env ...string) (string, error) {
	cmd := d.Command("env", append([]string{"CNI_COMMAND=" + verb, "CNI_CONTAINERID=" + container, "CNI_NETNS=/run/netns/" + container,
		"CNI_IFNAME=eth0", "CNI_PATH=" + d.plugins, "CNI_ARGS=IgnoreUnknown=1;NERDCTL_CNI_DHCP_HOSTNAME=" + container}, append(env, "/opt/cni/bin/bridge")...)...)
	cmd.Stdin = strings.NewReader(conf)
	out, err := cmd.CombinedOutput()
	return string(out), err
}

// must runs bridge, which must succeed.
func (d *dhcp) must(verb, container, conf string, env ...string) string {
	d.t.Helper()
	out, err := d.call(verb, container, conf, env...)
	if err != nil {
		d.t.Fatalf("%s %s: %v: %s", verb, container, err, out)
	}
	return out
}

// heard counts the server's messages of a kind.
func (d *dhcp) heard(message string) int {
	return strings.Count(d.do("cat", "/run/dhcp/log"), message+"(")
}

func (d *dhcp) wantHeard(message string, want int) {
	d.t.Helper()
	if got := d.heard(message); got != want {
		d.t.Errorf("the server's log has %d times %s, want %d", got, message, want)
	}
}

// watchReleases counts DHCPRELEASE on its way through the bridge: whether it names its sender or
// not.
func (d *dhcp) watchReleases() (named, nameless func() int) {
	// The type is the first option (RFC 2132, 9.6): behind 8 bytes of UDP's header and 240 of
	// DHCP's.
	const release = "udp dport 67 @th,1984,24 0x350107"
	d.do("nft", `add table bridge watch
		add counter bridge watch named; add counter bridge watch nameless
		add chain bridge watch seen { type filter hook prerouting priority -350; }
		add rule bridge watch seen ip saddr 10.77.0.0/24 `+release+` counter name named
		add rule bridge watch seen ether daddr ff:ff:ff:ff:ff:ff ip saddr 0.0.0.0 ip daddr `+dhcpServer+` `+release+` counter name nameless`)
	count := func(name string) func() int {
		return func() int {
			found := regexp.MustCompile(`packets (\d+)`).FindStringSubmatch(d.do("nft", "list", "counter", "bridge", "watch", name))
			n, _ := strconv.Atoi(found[1])
			return n
		}
	}
	return count("named"), count("nameless")
}

// leased maps the hosts' names in the server's file to their addresses.
func (d *dhcp) leased() map[string]string {
	leases := map[string]string{}
	for line := range strings.Lines(d.do("cat", "/run/dhcp/leases")) {
		if f := strings.Fields(line); len(f) == 5 {
			leases[f[3]] = f[2]
		}
	}
	return leases
}

// TestDHCP attaches containers by the reference's IPAM plugin dhcp. No request is lost, so that
// none has to be repeated, which takes it 10 s; and the server hears of the release.
//
// Release v1.9.1 of the plugin sends its release from 0.0.0.0 to the server's address, which Linux
// takes for no packet of its own (ip_route_input_slow, net/ipv4/route.c): dnsmasq can't hear it.
func TestDHCP(t *testing.T) {
	for _, release := range []string{"v1.9.1", build.ReferenceVersion} {
		for _, place := range []string{theHost, "lan"} {
			t.Run(release+"/"+place, func(t *testing.T) {
				d := newDHCP(t, release, place)
				named, nameless := d.watchReleases()
				conf := fmt.Sprintf(dhcpConf, `,"macspoofchk":true,"ipMasq":true,"hairpinMode":true,"mtu":1400`)
				const containers = 6
				for i := range containers {
					d.attach(fmt.Sprintf("c%d", i), conf)
				}
				for _, message := range []string{"DHCPDISCOVER", "DHCPOFFER", "DHCPREQUEST", "DHCPACK"} {
					d.wantHeard(message, containers)
				}
				for i := range containers {
					d.detach(i, conf)
				}
				if release == "v1.9.1" {
					eventually(t, "releases from 0.0.0.0", func() bool { return nameless() == containers })
					d.wantHeard("DHCPRELEASE", 0)
				} else {
					eventually(t, "releases", func() bool { return d.heard("DHCPRELEASE") == containers && named() == containers })
					if left := d.leased(); len(left) > 0 {
						t.Errorf("leases left: %v", left)
					}
				}
				d.wantNothing("after DEL")
			})
		}
	}
}

// attach looks whether a container can use what it got.
func (d *dhcp) attach(container, conf string) {
	d.t.Helper()
	if _, err := d.NewNetNS(container); err != nil {
		d.t.Fatal(err)
	}
	var res struct {
		IPs        []struct{ Address, Gateway string }
		Interfaces []struct{ MAC string }
	}
	out := d.must("ADD", container, conf)
	if err := json.Unmarshal([]byte(out), &res); err != nil {
		d.t.Fatalf("%v: %s", err, out)
	}
	d.must("CHECK", container, strings.TrimSuffix(conf, "}")+`,"prevResult":`+out+"}")
	if lease := d.leased()[container]; lease+"/24" != res.IPs[0].Address || res.IPs[0].Gateway != dhcpServer {
		d.t.Errorf("the lease is of %q, the result %s", lease, out)
	}
	id := fmt.Sprintf("%x", "\x00"+container+"/lan/eth0")
	if leases := strings.ReplaceAll(d.do("cat", "/run/dhcp/leases"), ":", ""); !strings.Contains(leases, id) {
		d.t.Errorf("no client %s in %s", id, leases)
	}
	d.do("ip", "netns", "exec", container, "ping", "-c1", "-W60", dhcpServer)
}

// detach ends every third container before DEL, and names no namespace to every other third. Then
// it comes again.
func (d *dhcp) detach(i int, conf string) {
	d.t.Helper()
	container := fmt.Sprintf("c%d", i)
	var env []string
	switch i % 3 {
	case 1:
		if err := d.DeleteNetNS(container); err != nil {
			d.t.Fatal(err)
		}
	case 2:
		env = []string{"CNI_NETNS="}
	}
	d.must("DEL", container, conf, env...)
	d.must("DEL", container, conf, env...)
}

// TestDHCPRoutes: a destination on the link has the router 0.0.0.0 (RFC 3442), which is no gateway,
// for CHECK neither.
func TestDHCPRoutes(t *testing.T) {
	d := newDHCP(t, build.ReferenceVersion, theHost, "--dhcp-option=121,10.9.0.0/16,0.0.0.0,0.0.0.0/0,10.77.0.254")
	conf := fmt.Sprintf(dhcpConf, `,"ipMasq":true`)
	if _, err := d.NewNetNS("c1"); err != nil {
		t.Fatal(err)
	}
	out := d.must("ADD", "c1", conf)
	if !regexp.MustCompile(`"gw": "0.0.0.0",\s+"scope": 253`).MatchString(out) {
		t.Errorf("the result is %s", out)
	}
	routes := d.do("ip", "-n", "c1", "route")
	for _, want := range []string{"10.9.0.0/16 dev eth0 scope link", "default via 10.77.0.254 dev eth0"} {
		if !strings.Contains(routes, want) {
			t.Errorf("no route %q in\n%s", want, routes)
		}
	}
	d.must("CHECK", "c1", strings.TrimSuffix(conf, "}")+`,"prevResult":`+out+"}")
	d.must("DEL", "c1", conf)
	d.wantNothing("after DEL")
}
