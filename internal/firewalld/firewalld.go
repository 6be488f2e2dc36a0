// SPDX-License-Identifier: Apache-2.0

// Package firewalld tells firewalld of containers' addresses.
package firewalld

import (
	"errors"
	"net/netip"
	"strconv"
	"strings"

	"github.com/swiftcni/swiftcni/cni/spec"
	"github.com/swiftcni/swiftcni/internal/dbus"
	"github.com/swiftcni/swiftcni/internal/fault"
	"github.com/swiftcni/swiftcni/nft"
)

// firewalld rejects, in a table of its own, packets that no zone lets through. So it must be told
// of a container's addresses, as sources of a zone. It forgets them when it's reloaded or
// restarted, unless they are permanent.

const busName = "org.fedoraproject.FirewallD1"

// A Conn is a connection to the daemon. Closing a nil one does nothing.
type Conn struct{ conn *dbus.Conn }

// Dial connects to firewalld. It returns nil without an error if firewalld doesn't run.
func Dial() (*Conn, error) {
	conn, err := dbus.DialSystemBus()
	if err != nil {
		return nil, nil // no bus, so firewalld isn't on it
	}
	runs, err := conn.HasOwner(busName)
	if err != nil || !runs {
		conn.Close()
		return nil, fault.Wrap("ask the system bus for firewalld", err)
	}
	return &Conn{conn}, nil
}

// Close closes the connection.
func (f *Conn) Close() {
	if f != nil {
		f.conn.Close()
	}
}

// zone calls a method of the interface zone, for a zone and a source.
func (f *Conn) zone(method, zone, source string) (string, error) {
	return f.conn.Call(dbus.Method{Destination: busName, Path: "/org/fedoraproject/FirewallD1", Interface: busName + ".zone", Member: method}, zone, source)
}

// refusedWith reports whether firewalld refused a call with one of its codes, which begin its
// texts.
func refusedWith(err error, codes ...string) bool {
	var e *dbus.Error
	if !errors.As(err, &e) || !strings.HasPrefix(e.Name, busName) {
		return false
	}
	code, _, _ := strings.Cut(e.Text, ":")
	for _, c := range codes {
		if c == code {
			return true
		}
	}
	return false
}

// Add makes addresses sources of a zone. On an error it takes back those that it added.
func (f *Conn) Add(o nft.Allowance, zone string) error {
	for i, a := range o.Addrs {
		_, err := f.zone("addSource", zone, source(a))
		switch {
		case err == nil || refusedWith(err, "ZONE_ALREADY_SET", "ALREADY_ENABLED"):
			continue
		case refusedWith(err, "INVALID_ZONE"):
			err = fault.Key("firewalldZone", `invalid "firewalldZone": firewalld has no zone `+strconv.Quote(zone))
		case refusedWith(err, "ZONE_CONFLICT"):
			err = fault.Key("firewalldZone", `invalid "firewalldZone": `+source(a)+" is a source of another zone than "+strconv.Quote(zone)+": "+err.Error())
		default:
			err = fault.Wrap("add "+source(a)+" to firewalld's zone "+strconv.Quote(zone), err)
		}
		for _, b := range o.Addrs[:i] {
			_ = f.Remove(zone, source(b))
		}
		return err
	}
	return nil
}

// Remove takes a source out of a zone. If it's in another one, as after a change of the
// configuration, it's taken out of that: the container's way must end.
func (f *Conn) Remove(zone, source string) error {
	_, err := f.zone("removeSource", zone, source)
	if zone != "" && refusedWith(err, "ZONE_CONFLICT", "INVALID_ZONE") {
		_, err = f.zone("removeSource", "", source)
	}
	if err == nil || refusedWith(err, "UNKNOWN_SOURCE", "NOT_ENABLED") {
		return nil
	}
	return fault.Wrap("remove "+source+" from firewalld", err)
}

// Forget makes firewalld forget addresses, if it runs, when the zone isn't known.
func Forget(list []nft.Allowed) error { return ForgetIn("")(list) }

// ForgetIn returns a function that makes firewalld forget addresses of a zone, if it runs.
func ForgetIn(zone string) func([]nft.Allowed) error {
	return func(list []nft.Allowed) error {
		f, err := Dial()
		if f == nil || err != nil {
			return err
		}
		defer f.Close()
		for _, o := range list {
			err = errors.Join(err, f.Remove(zone, source(o.Addr)))
		}
		return err
	}
}

// Check asks firewalld whether it knows the sources.
func (f *Conn) Check(o nft.Allowance, zone string) error {
	for _, a := range o.Addrs {
		switch answer, err := f.zone("querySource", zone, source(a)); {
		case err != nil:
			return fault.Wrap("ask firewalld for "+source(a), err)
		case answer != "true":
			return &spec.Error{Code: spec.CodeInternal, Key: "firewalldZone", Msg: "firewalld's zone " + strconv.Quote(zone) + " has no source " + source(a),
				Details: "firewalld forgets sources when it's reloaded or restarted; to keep them, make the network's subnet one for good: " +
					"firewall-cmd --permanent --zone=" + zone + " --add-source=SUBNET, then firewall-cmd --reload"}
		}
	}
	return nil
}

// source is firewalld's form of an address.
func source(a netip.Addr) string { return netip.PrefixFrom(a, a.BitLen()).String() }
