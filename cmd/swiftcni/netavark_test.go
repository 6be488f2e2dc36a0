// SPDX-License-Identifier: Apache-2.0

package main

import (
	"encoding/json"
	"fmt"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"testing"
)

// driver runs a command of netavark's driver protocol on the host.
func (w *world) driver(input string, args ...string) answer {
	w.t.Helper()
	cmd := driverCommand(args...)
	a, err := w.capture(cmd, []byte(input))
	if err != nil {
		w.t.Fatal(err)
	}
	return a
}

func driverCommand(args ...string) *exec.Cmd {
	cmd := exec.Command(filepath.Join(oursDir(), "swiftcni"), args...)
	cmd.Env = []string{"PATH=" + os.Getenv("PATH")}
	return cmd
}

// drives runs one that must succeed, and returns its answer.
func (w *world) drives(input string, args ...string) (answer map[string]any) {
	w.t.Helper()
	a := w.driver(input, args...)
	if a.status != 0 || len(a.stderr) > 0 {
		w.t.Fatalf("%s: status %d: %s%s", args, a.status, a.stdout, a.stderr)
	}
	if len(a.stdout) > 0 {
		if err := json.Unmarshal(a.stdout, &answer); err != nil {
			w.t.Fatalf("%s: %v: %s", args, err, a.stdout)
		}
	}
	return answer
}

const networkID = "2f259bab93aaaaa2542ba43ef33eb990d0999ee1b9924b557b7be53c0b7a1bb9"

// networkOf is podman's network with some more members.
func networkOf(more string) string {
	return `{"name":"shop","id":"` + networkID + `","driver":"swiftcni","created":"2026-01-01T00:00:00Z","labels":{"a":"b"},` +
		`"dns_enabled":true,"internal":false,"ipv6_enabled":false` + more + `}`
}

// callOf is the input of setup and teardown, for a network that create has completed.
func callOf(network map[string]any, container, more string) string {
	text, err := json.Marshal(network)
	if err != nil {
		panic(err) // it was read from JSON
	}
	return fmt.Sprintf(`{"container_id":%q,"container_name":"n","network":%s,%s}`, container, text, more)
}

func TestNetavarkDriver(t *testing.T) {
	w := newWorld(t, t.TempDir())
	w.driverDay()
	w.finish()
}

// driverDay is each of the driver's commands, and what comes of them.
func (w *world) driverDay() {
	t := w.t
	for _, name := range []string{"c1", "c2"} {
		if err := w.netns(name); err != nil {
			t.Fatal(err)
		}
	}
	if info := w.drives("", "info"); info["api_version"] != "1.0.0" || info["version"] == "" {
		t.Errorf("info: %v", info)
	}
	network := w.drives(networkOf(`,"subnets":[{"subnet":"10.77.0.0/24"},{"subnet":"fd77::/64"}],"options":{"mtu":"1400","outbound_addr4":"192.0.2.7","outbound_addr6":"2001:db8::7"}`), "create")
	subnets, _ := json.Marshal(network["subnets"])
	if got := string(subnets); got != `[{"gateway":"10.77.0.1","subnet":"10.77.0.0/24"},{"gateway":"fd77::1","subnet":"fd77::/64"}]` {
		t.Errorf("subnets %s", got)
	}
	if network["id"] != networkID || network["created"] == nil || network["labels"] == nil || network["dns_enabled"] != false {
		t.Errorf("network %v", network)
	}
	ports := `"port_mappings":[{"host_port":8080,"container_port":80,"host_ip":"","protocol":"tcp,udp","range":3}]`
	setup := callOf(network, "c1", ports+`,"network_options":{"interface_name":"eth0","static_ips":["10.77.0.9","fd77::9"],"static_mac":"02:00:00:00:00:09","aliases":["x"],"options":{"host_interface_name":"shop-c1"}}`)
	status := w.drives(setup, "setup", netnsPath("c1"))
	text, _ := json.Marshal(status)
	if got, want := string(text), `{"dns_search_domains":[],"dns_server_ips":[],"interfaces":{"eth0":{"mac_address":"02:00:00:00:00:09",`+
		`"subnets":[{"gateway":"10.77.0.1","ipnet":"10.77.0.9/24"},{"gateway":"fd77::1","ipnet":"fd77::9/64"}]}}}`; got != want {
		t.Errorf("status %s\nwant   %s", got, want)
	}
	for _, to := range []string{"10.77.0.1", "fd77::1"} {
		if err := w.reach("c1", netip.MustParseAddr(to), 60); err != nil {
			t.Error(err)
		}
	}
	if rules := w.must("", "nft", "list", "ruleset"); strings.Count(rules, ": 10.77.0.9 . 8") != 6 {
		t.Errorf("ruleset without the six ports:\n%s", rules)
	}
	for _, want := range []string{`10.77.0.9 comment "shop/c1/eth0" : 192.0.2.7`, `fd77::9 comment "shop/c1/eth0" : 2001:db8::7`} {
		if rules := w.must("", "nft", "list", "ruleset"); !strings.Contains(rules, want) {
			t.Errorf("ruleset without %s:\n%s", want, rules)
		}
	}
	if link := w.must("c1", "ip", "link", "show", "eth0"); !strings.Contains(link, "mtu 1400") {
		t.Errorf("eth0: %s", link)
	}
	if port := w.must("", "ip", "link", "show", "shop-c1"); !strings.Contains(port, "master "+fmt.Sprint(network["network_interface"])) {
		t.Errorf("shop-c1: %s", port)
	}
	if routes := w.must("c1", "ip", "route"); !strings.Contains(routes, "default via 10.77.0.1 dev eth0 metric 100") {
		t.Errorf("routes: %s", routes)
	}
	// Another container can't have the port, and is told so in netavark's way. Nothing is left of it.
	other := callOf(network, "c2", ports+`,"network_options":{"interface_name":"eth0","static_ips":["10.77.0.10"]}`)
	a := w.driver(other, "setup", netnsPath("c2"))
	var failed struct{ Error string }
	if err := json.Unmarshal(a.stdout, &failed); err != nil || a.status != 1 || !strings.Contains(failed.Error, "8080") {
		t.Errorf("a port that's taken: status %d: %s", a.status, a.stdout)
	}
	for range 2 { // also of what is gone
		w.drives(setup, "teardown", netnsPath("c1"))
	}
}

// The driver chooses for itself what podman leaves to it.
func TestNetavarkDriverChooses(t *testing.T) {
	w := newWorld(t, t.TempDir())
	if err := w.netns("c1"); err != nil {
		t.Fatal(err)
	}
	input := strings.Replace(networkOf(`,"options":{"ipam":"swiftcni"}`), `"ipv6_enabled":false`, `"ipv6_enabled":true`, 1)
	network := w.drives(input, "create")
	if again := w.drives(input, "create"); fmt.Sprint(again) != fmt.Sprint(network) {
		t.Errorf("created as %v and as %v", network, again)
	}
	var whole struct {
		Link    string `json:"network_interface"`
		Subnets []struct {
			Subnet  netip.Prefix
			Gateway netip.Addr
		}
	}
	text, _ := json.Marshal(network)
	if err := json.Unmarshal(text, &whole); err != nil || len(whole.Subnets) != 2 || whole.Link == "" {
		t.Fatalf("%v: %s", err, text)
	}
	private := []netip.Prefix{netip.MustParsePrefix("10.0.0.0/8"), netip.MustParsePrefix("fd00::/8")}
	for i, s := range whole.Subnets {
		if !private[i].Contains(s.Subnet.Addr()) || s.Gateway != s.Subnet.Addr().Next() || s.Subnet != s.Subnet.Masked() {
			t.Errorf("subnet %v, gateway %v", s.Subnet, s.Gateway)
		}
	}
	// A VLAN's gateway is a link whose name is the bridge's with the VLAN.
	tagged := fmt.Sprint(w.drives(networkOf(`,"options":{"vlan":"4094"}`), "create")["network_interface"])
	if len(tagged+".4094") > 15 || tagged == whole.Link {
		t.Errorf("bridge %s of a VLAN, and %s without one", tagged, whole.Link)
	}
	setup := callOf(network, "c1", `"port_mappings":null,"network_options":{"interface_name":"eth1"}`)
	w.stores = append(w.stores, "/var/lib/cni/networks")
	w.drives(setup, "setup", netnsPath("c1"))
	if err := w.reach("c1", whole.Subnets[0].Gateway, 60); err != nil {
		t.Error(err)
	}
	if leases, err := w.exec("", "ls", "/var/lib/cni/networks/shop"); err != nil || !strings.Contains(leases, whole.Subnets[0].Gateway.Next().String()) {
		t.Errorf("leases: %v %s", err, leases)
	}
	w.drives(setup, "teardown", netnsPath("c1"))

	// An address that the user has chosen is the container's, and the driver chooses the other one.
	last := whole.Subnets[0].Gateway.As4()
	last[3] = 99
	wanted := netip.AddrFrom4(last)
	setup = callOf(network, "c1", fmt.Sprintf(`"network_options":{"interface_name":"eth1","static_ips":[%q]}`, wanted))
	answer, _ := json.Marshal(w.drives(setup, "setup", netnsPath("c1")))
	for _, want := range []string{`"` + wanted.String() + `/24"`, `"ipnet":"` + whole.Subnets[1].Subnet.Addr().String()} {
		if !strings.Contains(string(answer), want) {
			t.Errorf("%s is lacking in %s", want, answer)
		}
	}
	for _, family := range []string{"-4", "-6"} {
		if routes := w.must("c1", "ip", family, "route"); !strings.Contains(routes, "default via") {
			t.Errorf("%s routes: %s", family, routes)
		}
	}
	w.drives(setup, "teardown", netnsPath("c1"))

	// It can't choose two of a subnet.
	setup = callOf(network, "c1", fmt.Sprintf(`"network_options":{"interface_name":"eth1","static_ips":[%q,%q]}`, wanted, wanted.Next()))
	if a := w.driver(setup, "setup", netnsPath("c1")); a.status != 1 || !strings.Contains(string(a.stdout), "failed to allocate all requested IPs: "+wanted.Next().String()) {
		t.Errorf("two addresses of a subnet: status %d: %s", a.status, a.stdout)
	}
	w.finish()
}

// What netavark has learnt since 1.14: a subnet may give a container several addresses, a route has a type, the
// MTU is the uplink's, and a teardown is made although the namespace is gone. What the driver doesn't know, it
// passes over.
func TestNetavarkDriverOfNetavark2(t *testing.T) {
	w := newWorld(t, t.TempDir())
	for _, name := range []string{"c1", "out"} {
		if err := w.netns(name); err != nil {
			t.Fatal(err)
		}
	}
	for _, line := range []string{"link add uplink mtu 1400 type veth peer name eth0 netns out", "link set uplink up",
		"address add 192.0.2.2/24 dev uplink", "route add default via 192.0.2.1"} {
		w.must("", "ip", strings.Fields(line)...)
	}
	network := w.drives(networkOf(`,"subnets":[{"subnet":"10.77.0.0/24","new":1},{"subnet":"fd77::/64"}],"new":{"a":[]},`+
		`"routes":[{"destination":"10.78.0.0/16","gateway":"10.77.0.1","route_type":"unicast","new":"x"}]`), "create")
	if network["new"] == nil || network["routes"] == nil {
		t.Errorf("network %v", network)
	}
	setup := strings.Replace(callOf(network, "c1", `"port_mappings":[{"host_port":8080,"container_port":80,"host_ip":"0.0.0.0","protocol":"tcp","range":1,"new":null}],`+
		`"network_options":{"interface_name":"eth0","static_ips":["10.77.0.9","10.77.0.10","fd77::9","fd77::a"],"new":{},"options":{"new":"x"}}`), "{", `{"container_hostname":"h",`, 1)
	status, _ := json.Marshal(w.drives(setup, "setup", netnsPath("c1")))
	if want := `[{"gateway":"10.77.0.1","ipnet":"10.77.0.9/24"},{"gateway":"10.77.0.1","ipnet":"10.77.0.10/24"},` +
		`{"gateway":"fd77::1","ipnet":"fd77::9/64"},{"gateway":"fd77::1","ipnet":"fd77::a/64"}]`; !strings.Contains(string(status), want) {
		t.Errorf("status %s\nwant   %s", status, want)
	}
	for _, address := range []string{"10.77.0.9", "10.77.0.10", "fd77::9", "fd77::a"} {
		if err := w.reach("", netip.MustParseAddr(address), 60); err != nil {
			t.Error(err)
		}
	}
	if link := w.must("c1", "ip", "link", "show", "eth0"); !strings.Contains(link, "mtu 1400") {
		t.Errorf("eth0: %s", link)
	}
	if routes := w.must("c1", "ip", "route"); strings.Count(routes, "default via") != 1 || !strings.Contains(routes, "10.78.0.0/16 via 10.77.0.1") {
		t.Errorf("routes: %s", routes)
	}
	if err := w.vanish("c1", false); err != nil {
		t.Fatal(err)
	}
	w.drives(setup, "teardown", netnsPath("c1"))
	w.must("", "ip", "link", "del", "uplink")
	w.finish()
}

// Podman makes one teardown. Signals that end other programs don't end it, as they don't end netavark's.
func TestNetavarkDriverTearsDownDespiteSignals(t *testing.T) {
	w := newWorld(t, t.TempDir())
	if err := w.netns("c1"); err != nil {
		t.Fatal(err)
	}
	network := w.drives(networkOf(`,"subnets":[{"subnet":"10.77.0.0/24"}],"options":{"ipam":"swiftcni"}`), "create")
	w.stores = append(w.stores, "/var/lib/cni/networks")
	input := callOf(network, "c1", `"network_options":{"interface_name":"eth0"}`)
	w.drives(input, "setup", netnsPath("c1"))
	held := w.holdShop()
	defer held.Close()
	cmd := driverCommand("teardown", netnsPath("c1"))
	cmd.Stdin = strings.NewReader(input)
	if err := w.startPlugin(cmd); err != nil {
		t.Fatal(err)
	}
	if !waitsForShop(cmd.Process.Pid) {
		t.Error("the driver doesn't wait for the lock")
	}
	for _, s := range []syscall.Signal{syscall.SIGTERM, syscall.SIGINT} {
		if err := cmd.Process.Signal(s); err != nil {
			t.Error(err)
		}
	}
	held.Close()
	if err := cmd.Wait(); err != nil {
		t.Error(err)
	}
	w.finish()
}

// An internal network has neither a way out nor an address of the host's.
func TestNetavarkDriverInternal(t *testing.T) {
	w := newWorld(t, t.TempDir())
	for _, name := range []string{"c1", "c2"} {
		if err := w.netns(name); err != nil {
			t.Fatal(err)
		}
	}
	network := w.drives(strings.Replace(networkOf(`,"subnets":[{"subnet":"10.77.0.0/24"}]`), `"internal":false`, `"internal":true`, 1), "create")
	for i, name := range []string{"c1", "c2"} {
		w.drives(callOf(network, name, fmt.Sprintf(`"network_options":{"interface_name":"eth0","static_ips":["10.77.0.%d"]}`, i+2)), "setup", netnsPath(name))
	}
	if err := w.reach("c1", netip.MustParseAddr("10.77.0.3"), 60); err != nil {
		t.Error(err)
	}
	if routes := w.must("c1", "ip", "route"); strings.Contains(routes, "default") {
		t.Errorf("routes: %s", routes)
	}
	if addrs := w.must("", "ip", "-4", "-o", "addr"); strings.Contains(addrs, "10.77.0") {
		t.Errorf("the host has %s", addrs)
	}
	for _, name := range []string{"c1", "c2"} {
		w.drives(callOf(network, name, `"network_options":{"interface_name":"eth0"}`), "teardown", netnsPath(name))
	}
	w.finish()
}

// A teardown works with what can be read, also where the network has other subnets by now.
func TestNetavarkTeardownGoesOn(t *testing.T) {
	w := newWorld(t, t.TempDir())
	if err := w.netns("c1"); err != nil {
		t.Fatal(err)
	}
	network := w.drives(networkOf(`,"subnets":[{"subnet":"10.77.0.0/24"},{"subnet":"fd77::/64"}]`), "create")
	const ports = `"port_mappings":[{"host_port":8080,"container_port":80,"protocol":"tcp"}],`
	setup := callOf(network, "c1", ports+`"network_options":{"interface_name":"eth0","static_ips":["10.77.0.9","fd77::9"]}`)
	for name, changed := range map[string]string{
		"other subnets":          strings.ReplaceAll(setup, "10.77.0.0/24", "10.78.0.0/24"),
		"no subnets":             strings.Replace(setup, `"subnets":[`, `"subnets":[],"x":[`, 1),
		"an address that's none": strings.Replace(setup, `"static_ips":["10.77.0.9"`, `"static_ips":["x"`, 1),
		// Podman has lost what it chose itself, and the user chose the other.
		"one address of two": strings.Replace(setup, `,"fd77::9"`, "", 1),
		"an unknown address": strings.Replace(setup, `"fd77::9"`, `"fd78::9"`, 1),
		"too many ports":     strings.Replace(setup, `"host_port":8080`, `"range":60000,"host_port":8080`, 1),
	} {
		w.drives(setup, "setup", netnsPath("c1"))
		if changed == setup {
			t.Fatalf("%s: nothing is changed in %s", name, setup)
		}
		if a := w.driver(changed, "teardown", netnsPath("c1")); a.status != 0 {
			t.Errorf("%s: status %d: %s%s", name, a.status, a.stdout, a.stderr)
			w.drives(setup, "teardown", netnsPath("c1"))
		}
		if err := w.noTrace(); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
	w.finish()
}

// traced runs one that must succeed, and returns a trace of what it sends.
func (w *world) traced(input string, args ...string) string {
	w.t.Helper()
	trace := filepath.Join(w.t.TempDir(), "trace")
	driver := driverCommand(args...)
	cmd := exec.Command("strace", append([]string{"-f", "-qq", "-e", "trace=sendto,sendmsg", "-o", trace}, driver.Args...)...)
	cmd.Env = driver.Env
	if a, err := w.capture(cmd, []byte(input)); err != nil || a.status != 0 {
		w.t.Fatalf("%s: %v, status %d: %s%s", args, err, a.status, a.stdout, a.stderr)
	}
	text, err := os.ReadFile(trace)
	if err != nil {
		w.t.Fatal(err)
	}
	return string(text)
}

// A teardown looks where the addresses say. It lists nothing, so it costs the same beside any number
// of others, and the rules stay for the next container. Only where podman has lost the addresses does it look
// everywhere.
func TestNetavarkTeardownListsNothing(t *testing.T) {
	w := newWorld(t, t.TempDir())
	network := w.drives(networkOf(`,"subnets":[{"subnet":"10.77.0.0/24"},{"subnet":"fd77::/64"}]`), "create")
	setups := map[string]string{}
	for i, name := range []string{"c1", "c2"} {
		if err := w.netns(name); err != nil {
			t.Fatal(err)
		}
		setups[name] = callOf(network, name, fmt.Sprintf(`"port_mappings":[{"host_port":808%d,"container_port":80,"protocol":"tcp"}],`+
			`"network_options":{"interface_name":"eth0","static_ips":["10.77.0.%d","fd77::%d"]}`, i, i+2, i+2))
		w.drives(setups[name], "setup", netnsPath(name))
	}
	lists := func(input string) int {
		t.Helper()
		return strings.Count(w.traced(input, "teardown", netnsPath("c2")), "NLM_F_DUMP")
	}
	rules := w.must("", "nft", "list", "chain", "inet", "swiftcni", "ports")
	if n := lists(setups["c2"]); n != 0 {
		t.Errorf("a teardown made %d listings", n)
	}
	if now := w.must("", "nft", "list", "chain", "inet", "swiftcni", "ports"); now != rules {
		t.Errorf("rules after a teardown: %s\nwant %s", now, rules)
	}
	w.drives(setups["c2"], "setup", netnsPath("c2"))
	if n := lists(strings.Replace(setups["c2"], `"static_ips"`, `"x"`, 1)); n == 0 {
		t.Error("a teardown that doesn't know the addresses made no listing")
	}
	w.drives(setups["c1"], "teardown", netnsPath("c1"))
	w.finish()
}

// Whoever asks for a port that a dead container has looks into every namespace once. It doesn't do so
// again between a look at the ruleset and the change: on a busy host that would never be made.
func TestDeadHolderOfAPortIsProvenOnce(t *testing.T) {
	w := newWorld(t, t.TempDir())
	network := w.drives(networkOf(`,"subnets":[{"subnet":"10.77.0.0/24"}]`), "create")
	var live []string
	setup := func(name string, n int, port string) string {
		if err := w.netns(name); err != nil {
			t.Fatal(err)
		}
		return callOf(network, name, fmt.Sprintf(`"port_mappings":[{"host_port":%s,"container_port":80,"protocol":"tcp"}],`+
			`"network_options":{"interface_name":"eth0","static_ips":["10.77.0.%d"]}`, port, n))
	}
	lives := func(name, input string) {
		live = append(live, input)
		w.drives(input, "setup", netnsPath(name))
	}
	looks := func(port string, n int) int {
		t.Helper()
		dead, next := fmt.Sprint("dead", n), fmt.Sprint("next", n)
		w.drives(setup(dead, n, port), "setup", netnsPath(dead))
		w.must(dead, "ip", "link", "delete", "eth0")
		input := setup(next, n+1, port)
		trace := w.traced(input, "setup", netnsPath(next))
		live = append(live, input)
		return len(regexp.MustCompile(`(?m)^.*RTM_GETLINK.*NLM_F_DUMP`).FindAllString(trace, -1))
	}
	lives("first", setup("first", 10, "9010"))
	few := looks("8080", 20)
	const more = 4
	for i := range more {
		name := fmt.Sprint("more", i)
		lives(name, setup(name, 30+i, fmt.Sprint(9030+i)))
	}
	// Beside these there are the dead one and the one that got its port.
	if many := looks("8081", 40); few == 0 || many-few > more+2 {
		t.Errorf("links were listed %d times, and %d times beside %d more containers", few, many, more+2)
	}
	for _, input := range live {
		w.drives(input, "teardown", "")
	}
	w.finish()
}

// Wrong input is one error object, before anything is touched.
func TestNetavarkDriverRefuses(t *testing.T) {
	w := newWorld(t, t.TempDir())
	if err := w.netns("c1"); err != nil {
		t.Fatal(err)
	}
	network := networkOf(`,"network_interface":"shop0","subnets":[{"subnet":"10.77.0.0/24","gateway":"10.77.0.1"}]`)
	call := func(more string) string { return `{"container_id":"c1","network":` + network + `,` + more + `}` }
	before := w.snapshot()
	for _, test := range []struct {
		name, input string
		args        []string
		says        string
	}{
		{"no JSON", `{`, []string{"create"}, "unexpected end of JSON input"},
		{"nothing", ``, []string{"create"}, "unexpected end of JSON input"},
		{"a list", `[]`, []string{"create"}, "expected"},
		{"more behind it", networkOf(``) + `x`, []string{"create"}, "invalid character 'x'"},
		{"an argument too many", networkOf(``), []string{"create", "x"}, "1 arguments, expected 0"},
		{"no namespace", call(`"network_options":{"interface_name":"eth0"}`), []string{"setup"}, "0 arguments, expected 1"},
		{"a number as name", strings.Replace(networkOf(``), `"shop"`, `7`, 1), []string{"create"}, "name"},
		{"a name that climbs", strings.Replace(networkOf(``), `"shop"`, `"../shop"`, 1), []string{"create"}, "invalid characters"},
		{"no ID", strings.Replace(networkOf(``), networkID, "", 1), []string{"create"}, "id"},
		{"a subnet that's none", networkOf(`,"subnets":[{"subnet":"10.77.0.0"}]`), []string{"create"}, "subnets[0].subnet: invalid CIDR address"},
		{"no subnet in it", networkOf(`,"subnets":[{"gateway":"10.77.0.1"}]`), []string{"create"}, "subnets[0]: no subnet"},
		{"a gateway elsewhere", networkOf(`,"subnets":[{"subnet":"10.77.0.0/24","gateway":"10.78.0.1"}]`), []string{"create"}, "10.78.0.1"},
		{"an unknown option", networkOf(`,"options":{"colour":"red"}`), []string{"create"}, "options.colour: isn't an option"},
		{"an isolation that isn't kept", networkOf(`,"options":{"isolate":"strict"}`), []string{"create"}, "options.isolate"},
		{"a blackhole", networkOf(`,"routes":[{"destination":"10.78.0.0/16","route_type":"blackhole"}]`), []string{"create"}, "routes[0].route_type"},
		{"a route of a type that comes later", strings.Replace(call(`"network_options":{"interface_name":"eth0","static_ips":["10.77.0.2"]}`), `"subnets"`, `"routes":[{"destination":"10.78.0.0/16","route_type":"prohibit"}],"subnets"`, 1), []string{"setup", netnsPath("c1")}, "network.routes[0].route_type"},
		{"an MTU that's none", networkOf(`,"options":{"mtu":"big"}`), []string{"create"}, "options.mtu"},
		{"a long name and a VLAN", networkOf(`,"network_interface":"abcdefghijk","options":{"vlan":"4094"}`), []string{"create"}, "longer than 15 characters"},
		{"a VLAN that's none", networkOf(`,"options":{"vlan":"4095"}`), []string{"create"}, "options.vlan"},
		{"another IPAM driver", networkOf(`,"ipam_options":{"driver":"dhcp"}`), []string{"create"}, "ipam_options.driver"},
		{"a bridge that climbs", networkOf(`,"network_interface":"../br"`), []string{"create"}, "../br"},
		{"an address elsewhere", call(`"network_options":{"interface_name":"eth0","static_ips":["10.78.0.2"]}`), []string{"setup", netnsPath("c1")}, "in none of the network's subnets"},
		{"an address that's none", call(`"network_options":{"interface_name":"eth0","static_ips":["x"]}`), []string{"setup", netnsPath("c1")}, "static_ips[0]"},
		{"a MAC that's none", call(`"network_options":{"interface_name":"eth0","static_ips":["10.77.0.2"],"static_mac":"x"}`), []string{"setup", netnsPath("c1")}, "MAC"},
		{"an interface that's none", call(`"network_options":{"interface_name":"a/b","static_ips":["10.77.0.2"]}`), []string{"setup", netnsPath("c1")}, "interface name contains"},
		{"no interface", call(`"network_options":{"static_ips":["10.77.0.2"]}`), []string{"setup", netnsPath("c1")}, "network_options.interface_name"},
		{"no container", `{"network":` + network + `,"network_options":{"interface_name":"eth0"}}`, []string{"setup", netnsPath("c1")}, "container_id"},
		{"another driver's network", strings.Replace(networkOf(``), `"driver":"swiftcni"`, `"driver":"bridge"`, 1), []string{"create"}, `driver: the network is of "bridge", and this driver is "swiftcni"`},
		{"another driver's network", strings.Replace(call(`"network_options":{"interface_name":"eth0"}`), `"driver":"swiftcni"`, `"driver":"macvlan"`, 1), []string{"setup", netnsPath("c1")}, `driver: the network is of "macvlan"`},
		{"a text for subnets", networkOf(`,"subnets":"x"`), []string{"create"}, "subnets: expected a list, got a string"},
		{"a route that leads nowhere", networkOf(`,"routes":[{"destination":"10.0.0.0/8","gateway":"x"}]`), []string{"create"}, "routes[0].gateway: invalid IP address: x"},
		{"too many ports", call(`"port_mappings":[{"host_port":65535,"container_port":80,"range":2}],"network_options":{"interface_name":"eth0","static_ips":["10.77.0.2"]}`), []string{"setup", netnsPath("c1")}, "beyond 65535"},
		{"a protocol that's none", call(`"port_mappings":[{"host_port":80,"container_port":80,"protocol":"tcp,x"}],"network_options":{"interface_name":"eth0","static_ips":["10.77.0.2"]}`), []string{"setup", netnsPath("c1")}, "protocol"},
		{"a namespace that's none", call(`"network_options":{"interface_name":"eth0","static_ips":["10.77.0.2"]}`), []string{"setup", "/etc/passwd"}, "/etc/passwd"},
	} {
		a := w.driver(test.input, test.args...)
		var failed struct{ Error string }
		if err := json.Unmarshal(a.stdout, &failed); err != nil || a.status != 1 || !strings.Contains(failed.Error, test.says) {
			t.Errorf("%s: status %d: %s%s, want %q", test.name, a.status, a.stdout, a.stderr, test.says)
		}
	}
	if after := w.snapshot(); after != before {
		t.Errorf("changed from\n%s\nto\n%s", before, after)
	}
}
