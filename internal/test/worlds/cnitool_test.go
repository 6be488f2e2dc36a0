// SPDX-License-Identifier: Apache-2.0

package worlds_test

import (
	"encoding/json"
	"io"
	"path/filepath"
	"regexp"
	"testing"

	"github.com/swiftcni/swiftcni/internal/test/box"
	"github.com/swiftcni/swiftcni/internal/tool/build"
)

// worldNetwork is a chain with a published port, an open firewall and a setting of the link.
const worldNetwork = `{
  "cniVersion": "1.1.0",
  "name": "world",
  "plugins": [
    { "type": "bridge", "bridge": "world0", "isDefaultGateway": true, "ipMasq": true, "hairpinMode": true,
      "ipam": { "type": "host-local", "ranges": [ [ { "subnet": "10.7.0.0/24" } ], [ { "subnet": "fd00:7::/64" } ] ] } },
    { "type": "portmap", "capabilities": { "portMappings": true } },
    { "type": "firewall" },
    { "type": "tuning", "mtu": 1400, "sysctl": { "net.ipv4.conf.IFNAME.log_martians": "1" } }
  ]
}`

// A cnitool is a host with libcni's command-line client, and two containers' namespaces, c1 and c2.
type cnitool struct {
	*host
	client string
}

func newCnitool(t *testing.T) *cnitool {
	t.Helper()
	c := &cnitool{newHost(t), buildCnitool(t)}
	c.write("/etc/cni/net.d/world.conflist", worldNetwork)
	for _, name := range []string{"c1", "c2"} {
		if _, err := c.NewNetNS(name); err != nil {
			t.Fatal(err)
		}
	}
	return c
}

// buildCnitool builds the client once, into the repository's cache, and returns its path.
func buildCnitool(t *testing.T) string {
	t.Helper()
	path, err := build.Cnitool(io.Discard, repository)
	if err != nil {
		t.Fatal(err)
	}
	return path
}

// call runs cnitool for a container, whose port 80 is published as the host's 8080 if it's c1, else
// as 8081.
func (c *cnitool) call(verb, container string) (string, error) {
	port := map[string]string{"c1": "8080"}[container]
	if port == "" {
		port = "8081"
	}
	return c.Run("env", "NETCONFPATH=/etc/cni/net.d", "CNI_PATH=/opt/cni/bin",
		`CAP_ARGS={"portMappings":[{"hostPort":`+port+`,"containerPort":80,"protocol":"tcp"}]}`,
		c.client, verb, "world", "/run/netns/"+container)
}

// must runs cnitool and returns what it printed; it may not fail.
func (c *cnitool) must(verb, container string) string {
	c.t.Helper()
	out, err := c.call(verb, container)
	if err != nil {
		c.t.Fatalf("%s %s: %v\n%s", verb, container, err, out)
	}
	return out
}

// refused runs cnitool, which must fail, with an error that says why.
func (c *cnitool) refused(verb, container, why string) {
	c.t.Helper()
	if out, err := c.call(verb, container); err == nil || !regexp.MustCompile("(?i)"+why).MatchString(err.Error()+out) {
		c.t.Errorf("%s %s: error %v, want one about %s", verb, container, err, why)
	}
}

// in runs a command in a container's namespace.
func (c *cnitool) in(container, command string) (string, error) {
	return c.from(container, "sh", "-c", command)
}

// reaches pings from a container.
func (c *cnitool) reaches(container, address string) {
	c.t.Helper()
	eventually(c.t, container+" to reach "+address, func() bool {
		_, err := c.in(container, "busybox ping -c1 -W10 "+address)
		return err == nil
	})
}

// serve starts a web server in a container's namespace. It ends with the host.
func (c *cnitool) serve(container string) {
	c.t.Helper()
	tree := filepath.Join(c.scratch, "rootfs")
	rootfs(c.t, tree)
	if out, err := c.in(container, "busybox httpd -p 80 -h "+tree+"/www"); err != nil {
		c.t.Fatalf("%v\n%s", err, out)
	}
}

func TestCnitoolAddCheckDel(t *testing.T) {
	c := newCnitool(t)
	c.must("status", "c1")
	var result struct {
		CNIVersion string
		Interfaces []struct{ Name, Mac, Sandbox string }
		IPs        []struct {
			Address, Gateway string
			Interface        int
		}
	}
	if err := json.Unmarshal([]byte(c.must("add", "c1")), &result); err != nil {
		t.Fatal(err)
	}
	if result.CNIVersion != "1.1.0" || len(result.Interfaces) != 3 || len(result.IPs) != 2 {
		t.Fatalf("result %+v", result)
	}
	if l := result.Interfaces[2]; l.Name != "eth0" || l.Sandbox != "/run/netns/c1" || l.Mac == "" {
		t.Errorf("the container's link is %+v", l)
	}
	for i, want := range []struct{ address, gateway string }{{"10.7.0.2/24", "10.7.0.1"}, {"fd00:7::2/64", "fd00:7::1"}} {
		if ip := result.IPs[i]; ip.Address != want.address || ip.Gateway != want.gateway || ip.Interface != 2 {
			t.Errorf("address %+v, want %v", ip, want)
		}
	}
	c.must("add", "c2")
	c.wantAttached("two attached", 2, "10.7.0.2", "10.7.0.3", "fd00:7::2", "fd00:7::3")
	for _, address := range []string{"10.7.0.3", "10.7.0.1", box.RouterIPv4, "fd00:7::3", "fd00:7::1", box.RouterIPv6} {
		c.reaches("c1", address)
	}
	c.serve("c1")
	for _, place := range []string{theOutside, theHost, "c2", "c1"} {
		c.wantPage(place, box.BoxIPv4, "8080")
	}
	c.wantPage(theOutside, box.BoxIPv6, "8080")
	owner, err := c.Run("cat", "/var/lib/cni/networks/world/10.7.0.2")
	if err != nil || !regexp.MustCompile(`^cnitool-[0-9a-f]+\r\neth0$`).MatchString(owner) {
		t.Errorf("the lease holds %q, %v", owner, err)
	}
	c.refused("add", "c1", "eth0|already|exist")

	c.must("del", "c1")
	c.wantAttached("one detached", 1, "10.7.0.3", "fd00:7::3")
	c.must("del", "c1")
	c.reaches("c2", box.RouterIPv4)
	if err := c.DeleteNetNS("c2"); err != nil {
		t.Fatal(err)
	}
	c.must("del", "c2")
	c.wantNothing("both detached")
}

func TestCnitoolCheckFindsWhatWasTakenAway(t *testing.T) {
	c := newCnitool(t)
	c.must("add", "c1")
	c.must("check", "c1")
	for _, harm := range []struct{ in, command, repair, why string }{
		{"c1", "ip address delete 10.7.0.2/24 dev eth0", "ip address add 10.7.0.2/24 dev eth0; ip route add default via 10.7.0.1", "10.7.0.2"},
		{"c1", "ip route delete default", "ip route add default via 10.7.0.1", "route"},
		{"c1", "ip link set eth0 mtu 1300", "ip link set eth0 mtu 1400", "mtu"},
		{"c1", "echo 0 >/proc/sys/net/ipv4/conf/eth0/log_martians", "echo 1 >/proc/sys/net/ipv4/conf/eth0/log_martians", "log_martians"},
		{theHost, "nft flush map inet swiftcni tcp4", "", "port"},
		{theHost, "nft flush set inet swiftcni open4", "", "open4"},
	} {
		if out, err := c.from(harm.in, "sh", "-c", harm.command); err != nil {
			t.Fatalf("%v\n%s", err, out)
		}
		c.refused("check", "c1", harm.why)
		if harm.repair == "" {
			c.must("del", "c1")
			c.must("add", "c1")
		} else if out, err := c.from(harm.in, "sh", "-c", harm.repair); err != nil {
			t.Fatalf("%v\n%s", err, out)
		}
		c.must("check", "c1")
	}
	c.must("del", "c1")
	c.wantNothing("detached")
}

// cnitool names no attachment as valid, so its gc ends all of them, those of living containers too.
func TestCnitoolGCLeavesNothing(t *testing.T) {
	c := newCnitool(t)
	c.must("add", "c1")
	c.must("add", "c2")
	// Of c2, libcni remembers nothing, as after a lost DEL, and its container is gone: only the
	// plugin can find it.
	if _, err := c.Run("find", "/var/lib/cni/results", "-type", "f", "-delete"); err != nil {
		t.Fatal(err)
	}
	if _, err := c.Run("ip", "netns", "del", "c2"); err != nil {
		t.Fatal(err)
	}
	c.must("del", "c1")
	// The kernel ends the namespace, and with it the link, in its own time.
	eventually(t, "the link to end with its namespace", func() bool { return len(c.ports()) == 0 })
	c.wantAttached("lost", 0, "10.7.0.3", "fd00:7::3")
	c.must("gc", "c1")
	c.must("gc", "c1")
	c.wantAttached("collected", 0)
	c.wantNoRule("collected", "10.7.0.3", "fd00:7::3", "8081")
	// DEL ends the attributes that tuning saved.
	c.must("del", "c2")
	c.wantNothing("deleted")
	c.must("add", "c1")
	c.reaches("c1", box.RouterIPv4)
	c.must("del", "c1")
	c.wantNothing("detached")
}
