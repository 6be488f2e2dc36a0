// SPDX-License-Identifier: Apache-2.0

package cni

import (
	"errors"
	"strings"

	"github.com/swiftcni/swiftcni/internal/dbus"
	"github.com/swiftcni/swiftcni/nft"
)

// firewalld rejects in a table of its own what no zone lets through, so it must be told of a container's addresses: as
// sources of a zone. It forgets them when it's reloaded or restarted, unless they're permanent.

const firewalldName = "org.fedoraproject.FirewallD1"

// A firewalld is a connection to the daemon.
type firewalld struct{ conn *dbus.Conn }

// dialFirewalld connects to firewalld; nil without an error is that it doesn't run.
func dialFirewalld() (*firewalld, error) {
	conn, err := dbus.DialSystemBus()
	if err != nil {
		return nil, nil // no bus, so nobody is on it
	}
	runs, err := conn.HasOwner(firewalldName)
	if err != nil || !runs {
		conn.Close()
		return nil, failed("ask the system bus for firewalld", err)
	}
	return &firewalld{conn}, nil
}

func (f *firewalld) close() {
	if f != nil {
		f.conn.Close()
	}
}

// zone calls a method of the interface zone, for a zone and a source.
func (f *firewalld) zone(method, zone, source string) (string, error) {
	return f.conn.Call(dbus.Method{Destination: firewalldName, Path: "/org/fedoraproject/FirewallD1", Interface: firewalldName + ".zone", Member: method}, zone, source)
}

// refusedWith reports whether firewalld refused a call with one of its codes, which begin its texts.
func refusedWith(err error, codes ...string) bool {
	var e *dbus.Error
	if !errors.As(err, &e) || !strings.HasPrefix(e.Name, firewalldName) {
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

// add makes addresses sources of a zone. On an error it takes back those that it added.
func (f *firewalld) add(o nft.Allowance, zone string) error {
	for i, a := range o.Addrs {
		_, err := f.zone("addSource", zone, source(a))
		switch {
		case err == nil || refusedWith(err, "ZONE_ALREADY_SET", "ALREADY_ENABLED"):
			continue
		case refusedWith(err, "INVALID_ZONE"):
			err = invalidKey("firewalldZone", `invalid "firewalldZone": firewalld has no zone `+quote(zone))
		case refusedWith(err, "ZONE_CONFLICT"):
			err = invalidKey("firewalldZone", `invalid "firewalldZone": `+source(a)+" is a source of another zone than "+quote(zone)+": "+err.Error())
		default:
			err = failed("add "+source(a)+" to firewalld's zone "+quote(zone), err)
		}
		for _, b := range o.Addrs[:i] {
			_ = f.remove(zone, source(b))
		}
		return err
	}
	return nil
}

// remove takes a source out of a zone. Where it's in another one, as when the configuration has been changed, it goes out of
// that: the container's way must end.
func (f *firewalld) remove(zone, source string) error {
	_, err := f.zone("removeSource", zone, source)
	if zone != "" && refusedWith(err, "ZONE_CONFLICT", "INVALID_ZONE") {
		_, err = f.zone("removeSource", "", source)
	}
	if err == nil || refusedWith(err, "UNKNOWN_SOURCE", "NOT_ENABLED") {
		return nil
	}
	return failed("remove "+source+" from firewalld", err)
}

// forgetSources takes back what firewalld was told, if it runs, where the zone isn't known.
func forgetSources(list []nft.Allowed) error { return forgetSourcesOf("")(list) }

// forgetSourcesOf takes back what firewalld was told of a zone, if it runs.
func forgetSourcesOf(zone string) func([]nft.Allowed) error {
	return func(list []nft.Allowed) error {
		f, err := dialFirewalld()
		if f == nil || err != nil {
			return err
		}
		defer f.close()
		for _, o := range list {
			err = errors.Join(err, f.remove(zone, source(o.Addr)))
		}
		return err
	}
}

// check asks firewalld whether it knows the sources.
func (f *firewalld) check(o nft.Allowance, zone string) error {
	for _, a := range o.Addrs {
		switch answer, err := f.zone("querySource", zone, source(a)); {
		case err != nil:
			return failed("ask firewalld for "+source(a), err)
		case answer != "true":
			return &Error{Code: CodeInternal, Key: "firewalldZone", Msg: "firewalld's zone " + quote(zone) + " has no source " + source(a),
				Details: "firewalld forgets sources when it's reloaded or restarted; to keep them, make the network's subnet one for good: " +
					"firewall-cmd --permanent --zone=" + zone + " --add-source=SUBNET, then firewall-cmd --reload"}
		}
	}
	return nil
}
