// SPDX-License-Identifier: Apache-2.0

package netavark

import (
	"errors"
	"net/netip"
	"strconv"
	"strings"

	"github.com/swiftcni/swiftcni/internal/jsontext"
)

// A network is podman's, as far as the driver reads it (types.rs of netavark, Network).
type network struct {
	name, id, driver string
	link             string // network_interface, the bridge
	internal, ipv6   bool
	subnets          []subnet
	routes           []route
	dns              []netip.Addr
	ipam             string // ipam_options.driver

	// options
	mtu, vlan, metric int
	outbound          [2]string // by IPv4 and by IPv6
	isolated          bool
	noDefaultRoute    bool
	chooses           bool // the driver chooses addresses, not podman
}

// A subnet is one of its address families.
type subnet struct {
	prefix      netip.Prefix
	gateway     netip.Addr // may be invalid: none
	first, last netip.Addr // of its lease range; may be invalid
}

type route struct {
	to     netip.Prefix
	via    netip.Addr
	metric int
}

// A call is what setup and teardown get (NetworkPluginExec).
type call struct {
	network   network
	container string
	ports     []portMapping
	ifName    string
	addrs     []netip.Addr
	mac       string
	hostName  string // of the host's end
	teardown  bool   // which goes on with what makes sense
}

// A portMapping is a range of ports (PortMapping).
type portMapping struct {
	host, container, count int
	hostIP, protocol       string
}

// readCall reads the input of setup and teardown. A teardown goes on with what can be read.
func readCall(text []byte, teardown bool) (*call, error) {
	c := &call{teardown: teardown}
	r := jsontext.NewReader(text, "")
	err := r.Object(func(key string) error {
		switch key {
		case "container_id":
			return r.Str(&c.container)
		case "port_mappings":
			_, err := r.List(func() error {
				p := portMapping{count: 1}
				err := p.read(r)
				c.ports = append(c.ports, p)
				return err
			})
			return err
		case "network":
			return c.network.read(r, nil)
		case "network_options":
			return r.Object(func(key string) error {
				switch key {
				case "interface_name":
					return r.Str(&c.ifName)
				case "static_ips":
					_, err := r.List(func() error {
						var a netip.Addr
						err := r.Addr(&a)
						c.addrs = append(c.addrs, a)
						return err
					})
					return err
				case "static_mac":
					return r.Str(&c.mac)
				case "options":
					return r.Object(func(key string) error {
						if key == "host_interface_name" {
							return r.Str(&c.hostName)
						}
						return nil
					})
				}
				return nil
			})
		}
		return nil
	})
	if teardown {
		r.First = nil
	}
	if err = ended(r, err); err != nil {
		return nil, err
	}
	switch {
	case c.container == "":
		return nil, errors.New("container_id: expected the ID of a container")
	case c.ifName == "":
		return nil, errors.New("network_options.interface_name: expected the name of a link")
	}
	return c, nil
}

// Container is the ID of the container that a call's input names, or "".
func Container(text []byte) (id string) {
	r := jsontext.NewReader(text, "")
	_ = r.Object(func(key string) error { // a text that's none is the call's own error
		if key == "container_id" {
			return r.Str(&id)
		}
		return nil
	})
	return id
}

// ended is the error of a text that was read.
func ended(r *jsontext.Reader, err error) error {
	if err == nil {
		err = r.End()
	}
	if err != nil {
		return errors.New("the input: " + err.Error())
	}
	if e := r.First; e != nil {
		return errors.New(pathOnce(e))
	}
	return nil
}

// pathOnce is an error's whole text, in which the path is there once.
func pathOnce(e *jsontext.Error) string {
	msg, path := e.Msg, e.Path+": "
	if _, rest, named := strings.Cut(msg, strconv.Quote(e.Path)+": "); named {
		msg = rest
	}
	return strings.TrimPrefix(path, ": ") + withDetails(msg, strings.TrimPrefix(strings.TrimPrefix(e.Details, e.Path), ": "))
}

// withDetails is an error's whole text.
func withDetails(msg, details string) string {
	if details == "" {
		return msg
	}
	return msg + "; " + details
}

func (p *portMapping) read(r *jsontext.Reader) error {
	return r.Object(func(key string) error {
		switch key {
		case "host_port":
			return r.Bounded(&p.host, 0, 65535)
		case "container_port":
			return r.Bounded(&p.container, 0, 65535)
		case "range":
			return r.Bounded(&p.count, 0, 65535)
		case "host_ip":
			return r.Str(&p.hostIP)
		case "protocol":
			return r.Str(&p.protocol)
		}
		return nil
	})
}

// read reads a network. other, if it's given, gets each member as it's written.
func (n *network) read(r *jsontext.Reader, other func(key string, value []byte)) error {
	return r.Object(func(key string) error {
		if other != nil {
			value, err := r.Value()
			if err != nil {
				return err
			}
			other(r.Key, value)
			inner := jsontext.NewReader(value, key)
			if err := n.field(inner, key); err != nil {
				return err
			}
			if inner.First != nil {
				r.Note(inner.First)
			}
			return nil
		}
		return n.field(r, key)
	})
}

// field reads one member of a network.
func (n *network) field(r *jsontext.Reader, key string) error {
	switch key {
	case "name":
		return r.Str(&n.name)
	case "id":
		return r.Str(&n.id)
	case "driver":
		return r.Str(&n.driver)
	case "network_interface":
		return r.Str(&n.link)
	case "internal":
		return r.Bool(&n.internal)
	case "ipv6_enabled":
		return r.Bool(&n.ipv6)
	case "subnets":
		_, err := r.List(func() error {
			var s subnet
			err := s.read(r)
			n.subnets = append(n.subnets, s)
			return err
		})
		return err
	case "routes":
		_, err := r.List(func() error {
			var t route
			err := t.read(r)
			n.routes = append(n.routes, t)
			return err
		})
		return err
	case "network_dns_servers":
		_, err := r.List(func() error {
			var a netip.Addr
			err := r.Addr(&a)
			n.dns = append(n.dns, a)
			return err
		})
		return err
	case "ipam_options":
		return r.Object(func(key string) error {
			if key == "driver" {
				return r.Str(&n.ipam)
			}
			return nil
		})
	case "options":
		return r.Object(func(key string) error { return n.option(r, key) })
	}
	return nil
}

// belongs refuses the network of another driver. A driver has its program's name.
func (n *network) belongs(program string) error {
	name := program[strings.LastIndexByte(program, '/')+1:]
	if n.driver == "" || n.driver == name {
		return nil
	}
	return errors.New("driver: the network is of " + strconv.Quote(n.driver) + ", and this driver is " + strconv.Quote(name))
}

func (s *subnet) read(r *jsontext.Reader) error {
	return r.Object(func(key string) error {
		switch key {
		case "subnet":
			return r.Prefix(&s.prefix)
		case "gateway":
			return r.Addr(&s.gateway)
		case "lease_range":
			return r.Object(func(key string) error {
				switch key {
				case "start_ip":
					return r.Addr(&s.first)
				case "end_ip":
					return r.Addr(&s.last)
				}
				return nil
			})
		}
		return nil
	})
}

func (t *route) read(r *jsontext.Reader) error {
	return r.Object(func(key string) error {
		switch key {
		case "destination":
			return r.Prefix(&t.to)
		case "gateway":
			return r.Addr(&t.via)
		case "metric":
			return r.Integer(&t.metric)
		case "route_type":
			return r.Text("unicast, which is the only type that this driver makes", func(s string) bool { return s == "unicast" })
		}
		return nil
	})
}

// option reads one of the network's options (podman network create --opt). They are all strings.
func (n *network) option(r *jsontext.Reader, key string) error {
	number := func(to *int, least, most int, expected string) error {
		return r.Text(expected, func(s string) bool {
			v, err := strconv.Atoi(s)
			*to = v
			return err == nil && v >= least && v <= most
		})
	}
	flag := func(to *bool) error {
		return r.Text("true or false", func(s string) bool {
			v, err := strconv.ParseBool(s)
			*to = v
			return err == nil
		})
	}
	switch key {
	case "outbound_addr4":
		return r.Str(&n.outbound[0])
	case "outbound_addr6":
		return r.Str(&n.outbound[1])
	case "mtu":
		return number(&n.mtu, 68, 65535, "a number of bytes from 68 to 65535")
	case "vlan":
		return number(&n.vlan, 1, 4094, "a VLAN from 1 to 4094")
	case "metric":
		return number(&n.metric, 0, 1<<31-1, "a metric of a route")
	case "ipam":
		return r.Text("podman or swiftcni", func(s string) bool {
			n.chooses = s == ownIPAM
			return s == ownIPAM || s == "podman"
		})
	case "isolate":
		return flag(&n.isolated)
	case "no_default_route":
		return flag(&n.noDefaultRoute)
	}
	r.Wrong("isn't an option of this driver", strings.Join(options[:], ", "))
	return nil
}

var options = [...]string{"ipam", "isolate", "metric", "mtu", "no_default_route", "outbound_addr4", "outbound_addr6", "vlan"}
