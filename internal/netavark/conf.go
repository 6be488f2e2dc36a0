// SPDX-License-Identifier: Apache-2.0

package netavark

import (
	"errors"
	"net/netip"
	"slices"
	"strconv"
	"strings"

	"github.com/swiftcni/swiftcni/internal/jsontext"
	"github.com/swiftcni/swiftcni/internal/specversion"
)

// defaultMetric is that of the default routes, as netavark has it.
const defaultMetric = 100

// conf says the call in the words of the plugin bridge (docs/keys.md). Ports and the way through the
// host's firewalls are members of its chain.
func (c *call) conf() ([]byte, error) {
	n := &c.network
	if n.link == "" {
		n.link = n.defaultLink()
	}
	w := jsontext.NewWriter(nil).Open('{')
	w.Text("cniVersion", specversion.Newest)
	w.Text("name", n.name)
	w.Text("type", "bridge")
	w.Text("bridge", n.link)
	w.Key("isGateway").Raw(strconv.FormatBool(!n.internal))
	w.Key("ipMasq").Raw(strconv.FormatBool(!n.internal))
	w.Key("hairpinMode").Raw("true")
	w.Text("outboundAddr4", n.outbound[0])
	w.Text("outboundAddr6", n.outbound[1])
	w.Text("hostInterfaceName", c.hostName)
	if n.mtu > 0 {
		w.Number("mtu", n.mtu)
	} else {
		w.Text("mtu", "auto") // as netavark's bridge has it since 1.16
	}
	w.Number("vlan", n.vlan)
	if err := c.writeIPAM(w); err != nil {
		return nil, err
	}
	w.Key("chain").Open('[')
	w.Item().Open('{')
	w.Text("type", "portmap")
	w.Key("capabilities").Raw(`{"portMappings":true}`)
	w.Close('}')
	if !n.internal || n.isolated {
		w.Item().Open('{')
		w.Text("type", "firewall")
		if n.isolated {
			w.Text("ingressPolicy", "same-bridge")
		}
		w.Close('}')
	}
	w.Close(']')
	w.Key("capabilities").Raw(`{"mac":true,"ips":true,"portMappings":true}`)
	w.Key("runtimeConfig").Open('{')
	w.Text("mac", c.mac)
	if n.chooses {
		w.Key("ips").Open('[')
		for _, a := range c.addrs {
			w.Item().Str(a.String())
		}
		w.Close(']')
	}
	if err := c.writePorts(w); err != nil {
		return nil, err
	}
	w.Close('}')
	if c.teardown {
		c.writePrevious(w)
	}
	return w.Close('}').Bytes(), nil
}

// writePrevious tells a teardown which addresses setup had, as a runtime hands a result back.
// Otherwise it would look everywhere for what the attachment has. What isn't all of them is none:
// podman gives an address of each subnet, and names only those that the user chose if it has lost
// the others.
func (c *call) writePrevious(w *jsontext.Writer) {
	n := &c.network
	if n.chooses || len(c.addrs) == 0 {
		return
	}
	for _, a := range c.addrs {
		if _, ok := n.subnetOf(a); !ok {
			return
		}
	}
	for i := range n.subnets {
		if !slices.ContainsFunc(c.addrs, n.subnets[i].prefix.Contains) {
			return
		}
	}
	w.Key("prevResult").Open('{')
	w.Text("cniVersion", specversion.Newest)
	w.Key("ips").Open('[')
	for _, a := range c.addrs {
		s, _ := n.subnetOf(a)
		w.Item().Open('{')
		w.Text("address", netip.PrefixFrom(a, s.prefix.Bits()).String())
		w.Close('}')
	}
	w.Close(']').Close('}')
}

// writeIPAM gives the addresses that podman has chosen, or else lets host-local choose those that the
// user hasn't.
func (c *call) writeIPAM(w *jsontext.Writer) error {
	n := &c.network
	w.Key("ipam").Open('{')
	if len(c.addrs) > 0 && !n.chooses {
		w.Text("type", "static")
		w.Key("addresses").Open('[')
		for _, a := range c.addrs {
			s, ok := n.subnetOf(a)
			if !ok && c.teardown {
				continue // the network may have others by now
			}
			if !ok {
				return errors.New("static_ips: " + a.String() + " is in none of the network's subnets")
			}
			w.Item().Open('{')
			w.Text("address", netip.PrefixFrom(a, s.prefix.Bits()).String())
			if !n.internal {
				writeAddr(w, "gateway", s.gateway)
			}
			w.Close('}')
		}
		w.Close(']')
	} else {
		w.Text("type", "host-local")
		w.Key("ranges").Open('[')
		for _, s := range n.subnets {
			w.Item().Raw("[" + s.ipamRange() + "]")
		}
		w.Close(']')
	}
	c.writeRoutes(w)
	w.Close('}')
	return nil
}

// ipamRange is the subnet in the words of host-local.
func (s *subnet) ipamRange() string {
	w := jsontext.NewWriter(nil).Open('{')
	w.Text("subnet", s.prefix.Masked().String())
	writeAddr(w, "rangeStart", s.first)
	writeAddr(w, "rangeEnd", s.last)
	writeAddr(w, "gateway", s.gateway)
	return string(w.Close('}').Bytes())
}

// writeRoutes gives a default route for each subnet that has a gateway and an address of the
// container, and the network's own routes.
func (c *call) writeRoutes(w *jsontext.Writer) {
	n := &c.network
	w.Key("routes").Open('[')
	for _, s := range n.subnets {
		inside := n.chooses || len(c.addrs) == 0 || slices.ContainsFunc(c.addrs, s.prefix.Contains)
		if n.internal || n.noDefaultRoute || !inside || !s.gateway.IsValid() {
			continue
		}
		to := "0.0.0.0/0"
		if s.gateway.Is6() {
			to = "::/0"
		}
		metric := n.metric
		if metric == 0 {
			metric = defaultMetric
		}
		w.Item().Open('{')
		w.Text("dst", to)
		w.Text("gw", s.gateway.String())
		w.Number("priority", metric)
		w.Close('}')
	}
	for _, t := range n.routes {
		w.Item().Open('{')
		w.Text("dst", t.to.String())
		writeAddr(w, "gw", t.via)
		w.Number("priority", t.metric)
		w.Close('}')
	}
	w.Close(']')
}

func (n *network) subnetOf(a netip.Addr) (*subnet, bool) {
	for i := range n.subnets {
		if n.subnets[i].prefix.Contains(a) {
			return &n.subnets[i], true
		}
	}
	return nil, false
}

// writePorts gives each port by itself.
func (c *call) writePorts(w *jsontext.Writer) error {
	w.Key("portMappings").Open('[')
	for i, p := range c.ports {
		count := max(p.count, 1)
		beyond := p.host+count > 65536 || p.container+count > 65536
		if beyond && c.teardown {
			continue // ports end by their owner
		}
		if beyond {
			return errors.New("port_mappings[" + strconv.Itoa(i) + "]: a range of " + strconv.Itoa(count) + " ports goes beyond 65535")
		}
		protocols := p.protocol
		if protocols == "" {
			protocols = "tcp"
		}
		for protocol := range strings.SplitSeq(protocols, ",") {
			for n := range count {
				w.Item().Open('{')
				w.Key("hostPort").Num(p.host + n)
				w.Key("containerPort").Num(p.container + n)
				w.Text("protocol", protocol)
				w.Text("hostIP", p.hostIP)
				w.Close('}')
			}
		}
	}
	w.Close(']')
	return nil
}

// defaultLink is the name of the network's bridge, if nobody has chosen one: it's as unlikely to be
// taken as the network's ID. A VLAN's gateway has it with a dot and the VLAN behind it.
func (n *network) defaultLink() string {
	digits := 12
	if n.vlan > 0 {
		digits = 8
	}
	return "sw" + n.id[:min(len(n.id), digits)]
}

// writeAddr prints an address, or nothing if there's none.
func writeAddr(w *jsontext.Writer, key string, a netip.Addr) {
	if a.IsValid() {
		w.Text(key, a.String())
	}
}
