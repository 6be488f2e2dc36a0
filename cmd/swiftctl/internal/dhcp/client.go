// SPDX-License-Identifier: Apache-2.0

package dhcp

import (
	"context"
	"errors"
	"fmt"
	"net"
	"time"

	"github.com/insomniacslk/dhcp/dhcpv4"
	"github.com/insomniacslk/dhcp/dhcpv4/nclient4"
	"github.com/mdlayher/packet"
	"golang.org/x/sys/unix"
)

var (
	errNoMoreTries = errors.New("no more tries")
	errNak         = errors.New("the server refuses the address (NAK)")
	errOther       = errors.New("the server gives another address")
	errAnother     = errors.New("another link is there")
)

// tries is how often a message is sent before an attempt fails. The pause after each is twice as
// long as the one before. The first ends long before the timeout of the reference, which loses ten
// seconds with a packet.
const (
	tries      = 4
	firstPause = 10 // a part of the timeout
)

// A client asks servers from a link.
type client struct {
	*nclient4.Client
	with []dhcpv4.Modifier // each message
}

// client opens a socket inside the namespace. It stays there.
func (l *lease) client() (*client, error) {
	c := &client{with: []dhcpv4.Modifier{dhcpv4.WithOption(dhcpv4.OptMaxMessageSize(nclient4.MaxMessageSize))}}
	c.with = append(c.with, func(m *dhcpv4.DHCPv4) {
		m.UpdateOption(l.clientID())
		for _, o := range l.opts {
			m.UpdateOption(o)
		}
		if l.d.o.Broadcast && m.MessageType() != dhcpv4.MessageTypeRelease {
			m.SetBroadcast()
		}
	})
	conn, err := l.raw(&net.UDPAddr{Port: nclient4.ClientPort})
	if err == nil {
		c.Client, err = nclient4.NewWithConn(conn, l.link.mac, nclient4.WithTimeout(l.d.o.Timeout/firstPause), nclient4.WithRetry(tries))
	}
	return c, err
}

// clientID is what a server knows the lease by: the configuration's, or the daemon's own.
func (l *lease) clientID() dhcpv4.Option {
	for _, o := range l.opts {
		if o.Code.Code() == dhcpv4.OptionClientIdentifier.Code() {
			return o
		}
	}
	return dhcpv4.OptClientIdentifier(append([]byte{0}, l.id...))
}

// raw is a socket at the link, whatever name the container has given that, for frames of broadcast.
func (l *lease) raw(from *net.UDPAddr) (conn net.PacketConn, err error) {
	err = l.link.ns.Do(func() error {
		c, err := packet.Listen(&net.Interface{Index: l.link.index, HardwareAddr: l.link.mac}, packet.Datagram, unix.ETH_P_IP, nil)
		if err == nil {
			conn = nclient4.NewBroadcastUDPConn(c, from)
		}
		return err
	})
	return conn, err
}

func types(list ...dhcpv4.MessageType) nclient4.Matcher {
	return nclient4.IsMessageType(list[0], list[1:]...)
}

// request gets an address: DISCOVER, OFFER, REQUEST, ACK. of is the one that it's to be, or nil.
func (c *client) request(ctx context.Context, of net.IP) (*dhcpv4.DHCPv4, error) {
	with := c.with
	if of != nil {
		with = append(with[:len(with):len(with)], dhcpv4.WithOption(dhcpv4.OptRequestedIPAddress(of)))
	}
	discover, err := dhcpv4.NewDiscovery(c.InterfaceAddr(), with...)
	if err != nil {
		return nil, err
	}
	offer, err := c.SendAndRead(ctx, c.RemoteAddr(), discover, nclient4.IsAll(types(dhcpv4.MessageTypeOffer), usable))
	if err != nil {
		return nil, fmt.Errorf("unable to receive an offer: %w", err)
	}
	if of != nil && !offer.YourIPAddr.Equal(of) {
		return nil, fmt.Errorf("%w, %v", errOther, offer.YourIPAddr)
	}
	request, err := dhcpv4.NewRequestFromOffer(offer, c.with...)
	if err != nil {
		return nil, err
	}
	return c.ask(ctx, request, offer.ServerIdentifier(), offer.YourIPAddr)
}

// renew asks for a longer lease: the server that gave it, or else any.
func (c *client) renew(ctx context.Context, ack *dhcpv4.DHCPv4, anybody bool) (*dhcpv4.DHCPv4, error) {
	request, err := dhcpv4.NewRenewFromAck(ack, c.with...)
	if err != nil {
		return nil, err
	}
	server := ack.ServerIdentifier()
	if anybody {
		server = nil
	}
	return c.ask(ctx, request, server, ack.YourIPAddr)
}

// ask sends a request for an address, and reads what a server, or any, says to that.
func (c *client) ask(ctx context.Context, request *dhcpv4.DHCPv4, server, of net.IP) (*dhcpv4.DHCPv4, error) {
	answer, err := c.SendAndRead(ctx, c.RemoteAddr(), request, func(m *dhcpv4.DHCPv4) bool {
		switch {
		case server != nil && !m.ServerIdentifier().Equal(server):
			return false
		case m.MessageType() == dhcpv4.MessageTypeNak:
			return true
		}
		return m.MessageType() == dhcpv4.MessageTypeAck && usable(m) && m.YourIPAddr.Equal(of)
	})
	switch {
	case err != nil:
		return nil, err
	case answer.MessageType() == dhcpv4.MessageTypeNak && answer.Message() == "":
		return nil, errNak
	case answer.MessageType() == dhcpv4.MessageTypeNak:
		return nil, fmt.Errorf("%w: %s", errNak, answer.Message())
	}
	return answer, nil
}

// usable reports whether a message gives an address that a link can have.
func usable(m *dhcpv4.DHCPv4) bool {
	ip := m.YourIPAddr.To4()
	return ip != nil && ip.IsGlobalUnicast() && m.ServerIdentifier().To4() != nil
}

// release gives the address back. Nobody answers to that. A server on the link gets it in a
// broadcast frame, since the address may have left the link or never have been there, and the link
// may go before the server's MAC is found out. But it comes from the address, or Linux would drop it
// (ip_route_input_slow, net/ipv4/route.c). No router would take such a frame, so a server elsewhere
// gets a packet like any other, if that can be sent.
func (l *lease) release(ack *dhcpv4.DHCPv4) error {
	message, err := dhcpv4.NewReleaseFromACK(ack, dhcpv4.WithOption(l.clientID()))
	if err != nil {
		return err
	}
	from := &net.UDPAddr{IP: ack.YourIPAddr, Port: nclient4.ClientPort}
	to := &net.UDPAddr{IP: ack.ServerIdentifier(), Port: nclient4.ServerPort}
	if on := network(ack); !on.Contains(to.IP) {
		var conn net.PacketConn
		err := l.link.ns.Do(func() (err error) {
			conn, err = net.ListenUDP("udp4", from)
			return err
		})
		if send(conn, err, message, to) == nil {
			return nil
		}
	}
	conn, err := l.raw(from)
	return send(conn, err, message, to)
}

// send sends a message by a socket that was opened, or not.
func send(conn net.PacketConn, err error, message *dhcpv4.DHCPv4, to *net.UDPAddr) error {
	if err != nil {
		return err
	}
	defer conn.Close()
	_, err = conn.WriteTo(message.ToBytes(), to)
	return err
}

// network is the address with its subnet's mask.
func network(ack *dhcpv4.DHCPv4) net.IPNet {
	return net.IPNet{IP: ack.YourIPAddr, Mask: ack.SubnetMask()}
}

// clamp is a duration within bounds.
func clamp(d, least, most time.Duration) time.Duration { return max(least, min(d, most)) }
