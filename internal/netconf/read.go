// SPDX-License-Identifier: Apache-2.0

package netconf

import (
	"github.com/swiftcni/swiftcni/cni/spec"
	"github.com/swiftcni/swiftcni/internal/fault"
	"github.com/swiftcni/swiftcni/internal/jsontext"
	"github.com/swiftcni/swiftcni/internal/wire"
)

// MaxInput bounds a configuration, in bytes. GC lists attachments by the thousand.
const MaxInput = 16 << 20

// Limits of what is taken from outside.
const (
	maxName   = 255   // NAME_MAX (linux/limits.h): a network's name is a directory's
	maxMTU    = 65535 // ETH_MAX_MTU (linux/if_ether.h)
	maxQueues = 4096  // what the kernel takes as IFLA_NUM_TX_QUEUES
)

// Read reads a configuration. ipam is the IPAM plugin that it's read for, which then goes by the
// key "ipam" whatever type that names, or "". of is what the list or chain says that the plugin is
// in, or nil.
//
// The error says why there's no network, and is an *spec.Error. What is wrong with single keys
// isn't an error: [Network.Wrong] tells it. text is kept, and mustn't be changed.
func Read(text []byte, ipam string, of *Common) (*Network, error) {
	n := &Network{Text: text, common: of}
	n.IPAM.DataDir = DefaultDataDir
	n.IPAM.own, n.IPAM.Plugin = ipam, ipam
	n.Bridge.Name, n.Link.Queues = "cni0", 1
	r := n.Reader()
	var name, cniVersion string
	err := r.Object(func(key string) error {
		switch {
		case key == "cniversion" && of == nil:
			return r.Str(&cniVersion)
		case key == "name" && of == nil:
			return r.Str(&name)
		}
		return n.field(r, key)
	})
	if err == nil {
		err = r.End()
	}
	if err != nil {
		return nil, fault.Decode(err)
	}
	// These decide which answer is given at all, so a wrong type is a decoding failure.
	if e := r.First; e != nil && (e.Path == "" || e.Path == "cniVersion" || e.Path == "name") {
		return nil, &spec.Error{Code: spec.CodeDecode, Msg: "error unmarshall network config: " + e.Msg, Key: e.Path}
	}
	if of != nil {
		name, cniVersion, n.ArgsMAC = of.Name, of.CNIVersion, of.ArgsMAC
	}
	if err := nameError(name); err != nil {
		return nil, err
	}
	n.Name, n.CNIVersion = name, cniVersion
	if cniVersion == "" {
		n.CNIVersion = "0.1.0"
	}
	n.readPrev()
	n.IPAM.joinSets(n.CNIVersion)
	if r.First != nil {
		n.faults = append(n.faults, keyFault{OfEach, fault.OfText(r.First)})
	}
	return n, nil
}

func nameError(name string) *spec.Error {
	switch {
	case name == "":
		return fault.Key("name", "missing network name")
	case len(name) > maxName:
		return fault.Because(fault.Key("name", "network name is too long: expected at most 255 characters"), name)
	case !ValidID(name):
		return fault.Because(fault.Key("name", "invalid characters found in network name"), name)
	}
	return nil
}

// field reads one key of the top level.
func (n *Network) field(r *jsontext.Reader, key string) error {
	switch key {
	case "type":
		return n.about(OfMain, r, func() error { return r.Str(&n.Type) })
	case "ipam":
		return n.readIPAM(r)
	case "dns":
		return n.about(OfMain, r, func() error { return n.readDNS(r) })
	case "args":
		return n.readArgs(r)
	case "runtimeconfig":
		return r.Object(func(key string) error { return n.runtimeField(r, key) })
	case "prevresult":
		var err error
		n.PrevText, err = r.Value()
		return err
	case "cni.dev/valid-attachments", "cni.dev/attachments":
		return n.about(OfGC, r, func() error { return n.readValid(r) })
	case "chain":
		return n.about(OfLink, r, func() error { return n.readChain(r) })
	case "ipmasqbackend":
		return n.about(OfMasquerade, r, func() error { return readBackend(r) })
	case "mtu", "queues", "ipmasq", "ip6masq", "outboundaddr4", "outboundaddr6", "linklocal", "hostinterfacename":
		return n.about(OfLink, r, func() error { return n.Link.field(r, key) })
	}
	return n.about(OfBridge, r, func() error { return n.Bridge.field(r, key) })
}

func (n *Network) readDNS(r *jsontext.Reader) error {
	dns := wire.DNS{}
	present, err := dns.Read(r)
	n.DNS, n.HasDNS = spec.DNS(dns), present
	return err
}

// readChain keeps each member's text. Its content is looked at when the network is known.
func (n *Network) readChain(r *jsontext.Reader) error {
	n.Chain = nil
	_, err := ReadTexts(r, &n.Chain)
	return err
}

// readArgs reads args. Its null is IPAM's alone, as a pointer is only there.
func (n *Network) readArgs(r *jsontext.Reader) error {
	if r.Kind() == 'n' {
		n.IPAM.Args = Wishes{}
	}
	return r.Object(func(key string) error {
		if key != "cni" {
			return nil
		}
		if r.Kind() == 'n' {
			n.IPAM.Args = Wishes{}
		}
		return r.Object(func(key string) error {
			switch key {
			case "mac":
				return n.about(OfMAC, r, func() error { return r.Str(&n.macs[macArgs]) })
			case "ips":
				return n.about(OfIPAM, r, func() error { return n.IPAM.Args.read(r) })
			}
			return nil
		})
	})
}

// runtimeField reads one key of runtimeConfig.
func (n *Network) runtimeField(r *jsontext.Reader, key string) error {
	switch key {
	case "mac":
		return n.about(OfMAC, r, func() error { return r.Str(&n.macs[macRuntime]) })
	case "ips":
		return n.about(OfIPAM, r, func() error { return n.IPAM.Runtime.read(r) })
	case "ipranges":
		return n.about(OfIPAM, r, func() error { return readRangeSets(r, &n.IPAM.runtimeRanges) })
	}
	return nil
}

// readValid reads GC's list. Both of its keys say the same; the last one wins.
func (n *Network) readValid(r *jsontext.Reader) error {
	valid := []spec.Attachment{}
	_, err := r.List(func() error {
		var a spec.Attachment
		err := r.Object(func(key string) error {
			switch key {
			case "containerid":
				return r.Str(&a.ContainerID)
			case "ifname":
				return r.Str(&a.IfName)
			}
			return nil
		})
		if a.ContainerID == "" || a.IfName == "" {
			r.Invalid("expected an object with containerID and ifname")
		}
		valid = append(valid, a)
		return err
	})
	// libcni writes an empty list as null: the key itself is the list.
	n.Valid = valid
	return err
}
