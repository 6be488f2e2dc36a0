// SPDX-License-Identifier: Apache-2.0

package cni

import (
	"errors"
	"strconv"
	"strings"

	"github.com/swiftcni/swiftcni/internal/fault"
	"github.com/swiftcni/swiftcni/internal/jsontext"
	"github.com/swiftcni/swiftcni/internal/names"
	"github.com/swiftcni/swiftcni/internal/wire"
	"golang.org/x/sys/unix"
)

// Limits of what is taken from outside.
const (
	maxInput  = 16 << 20 // bytes of a configuration; GC lists attachments by the thousand
	maxName   = 255      // NAME_MAX (linux/limits.h): a network's name is a directory's
	maxVLAN   = 4094     // IEEE 802.1Q
	maxMTU    = 65535    // ETH_MAX_MTU (linux/if_ether.h)
	maxQueues = 4096     // what the kernel takes as IFLA_NUM_TX_QUEUES
)

// Parse reads a plugin's configuration, or a list of them (.conflist), and finds whatever is wrong with it for the plugin that
// its "type" names: keys, what they say together, the version, and the type itself. It touches nothing. The error is an
// *Error that names the key at fault, the first one in the order in which ADD would.
//
// A list is one network. [Attach] runs its plugins one after the other, each with the result of the one before, and takes all
// back if one fails; [Detach] runs them from the last to the first. Name and version are the list's, of several versions the
// newest that's known. What a runtime adds for each container, runtimeConfig and args, may stand beside "plugins", and is
// then every plugin's.
//
// It returns the network beside the error wherever there is one to speak of, for [Detach]: a configuration that turned
// invalid must not keep an address for ever. [Attach] and the other calls end with that same error. Without a valid name, or
// from what isn't JSON, there's no network.
//
// text is kept, and mustn't be changed while the network is in use.
func Parse(text []byte) (*Network, error) {
	if n, err := parseList(text); n != nil || err != nil {
		return n, err
	}
	n, err := readFor(text, nil)
	if err != nil {
		return nil, err
	}
	n.err = n.problem()
	return n, n.err
}

// readFor reads a configuration for the plugin that it names. It has none if there's no such plugin.
func readFor(text []byte, of *common) (*Network, error) {
	n, err := read(text, nil, of)
	if err != nil {
		return nil, err
	}
	p := findPlugin(n.plugin)
	if p.readsIPAM() { // then the key "ipam" is the plugin's own, whatever type that names
		if n, err = read(text, p, of); err != nil {
			return nil, err
		}
	}
	n.serve(p)
	return n, nil
}

// problem finds what is wrong with a configuration, in the order in which ADD would say so.
func (n *Network) problem() error {
	p := n.served
	if p == nil {
		return errUnknownType(n.plugin)
	}
	if err := n.speaks(p.since); err != nil {
		return err
	}
	if err := n.wrong(p.reads | ofEach | ofGC); err != nil {
		return err
	}
	if err := p.wrong(n, Attachment{}); err != nil {
		return err
	}
	return n.checkMembers(Attachment{})
}

// errUnknownType is of a configuration for no plugin that's known.
func errUnknownType(name string) error {
	return invalidKey("type", `unknown plugin `+quote(name)+`, expected "type" to be one of `+strings.Join(PluginNames(), ", "))
}

// A concern is whose keys a fault of the configuration is in: a plugin judges what it reads, since what it has no use for
// may mean something else to another program.
type concern uint8

const (
	ofEach       concern = 1 << iota // every plugin reads them
	ofBridge                         // bridge alone
	ofLink                           // bridge and ptp
	ofMasquerade                     // ipMasqBackend
	ofMain                           // type and dns: what main plugins go by
	ofMAC                            // runtimeConfig.mac and args.cni.mac
	ofIPAM                           // host-local and static
	ofGC
)

// A keyFault is a key that's wrong.
type keyFault struct {
	of  concern
	err *Error
}

// wrong returns the first fault that concerns somebody, or nil.
func (n *Network) wrong(of concern) error {
	if !n.ipam.isOurs() {
		of &^= ofIPAM
	}
	if !n.bridge.ipMasq {
		of &^= ofMasquerade
	}
	for _, f := range n.faults {
		if f.of&of != 0 {
			return f.err
		}
	}
	return nil
}

// about reads keys whose faults are somebody's concern.
func (n *Network) about(of concern, r *jsontext.Reader, read func() error) error {
	was := r.First
	r.First = nil
	err := read()
	if r.First != nil {
		n.faults = append(n.faults, keyFault{of, fault.OfText(r.First)})
	}
	r.First = was
	return err
}

// read reads a configuration for a plugin, if it's known which, and of a list or chain, if it's in one. The error says why there's no network; what is wrong with its
// keys is among its faults.
func read(text []byte, p *plugin, of *common) (*Network, error) {
	n := &Network{text: text, common: of}
	n.ipam.dataDir = defaultDataDir
	if p.readsIPAM() {
		n.ipam.own, n.ipam.plugin = p.name, p.name
	}
	n.bridge.name, n.bridge.queues = "cni0", 1
	r := n.reader()
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
		return nil, &Error{Code: CodeDecode, Msg: "error unmarshall network config: " + e.Msg, Key: e.Path}
	}
	if of != nil {
		name, cniVersion = of.name, of.cniVersion
	}
	if name == "" {
		return nil, invalidKey("name", "missing network name")
	}
	if len(name) > maxName {
		return nil, &Error{Code: CodeInvalidNetwork, Msg: "network name is too long: expected at most 255 characters", Details: name, Key: "name"}
	}
	if !validID(name) {
		return nil, &Error{Code: CodeInvalidNetwork, Msg: "invalid characters found in network name", Details: name, Key: "name"}
	}
	n.name, n.cniVersion = name, cniVersion
	if cniVersion == "" {
		n.cniVersion = "0.1.0"
	}
	n.parsePrevResult()
	n.ipam.joinSets(n.cniVersion)
	if r.First != nil {
		n.faults = append(n.faults, keyFault{ofEach, fault.OfText(r.First)})
	}
	return n, nil
}

// field reads one key of the top level.
func (n *Network) field(r *jsontext.Reader, key string) error {
	switch key {
	case "type":
		return n.about(ofMain, r, func() error { return r.Str(&n.plugin) })
	case "ipam":
		return n.parseIPAM(r)
	case "dns":
		return n.about(ofMain, r, func() error { return n.parseDNS(r) })
	case "args":
		return n.parseArgs(r)
	case "runtimeconfig":
		return r.Object(func(key string) error { return n.runtimeField(r, key) })
	case "prevresult":
		var err error
		n.prevRaw, err = r.Value()
		return err
	case "cni.dev/valid-attachments", "cni.dev/attachments":
		return n.about(ofGC, r, func() error { return n.parseValid(r) })
	case "chain":
		return n.about(ofLink, r, func() error { return n.parseChain(r) })
	case "ipmasqbackend":
		return n.about(ofMasquerade, r, func() error { return n.bridge.parseBackend(r) })
	case "mtu", "queues", "ipmasq", "linklocal":
		return n.about(ofLink, r, func() error { return n.bridge.linkField(r, key) })
	}
	return n.about(ofBridge, r, func() error { return n.bridge.field(r, key) })
}

// linkField reads one of the keys that bridge and ptp share.
func (b *bridgeKeys) linkField(r *jsontext.Reader, key string) error {
	switch key {
	case "ipmasq":
		return r.Bool(&b.ipMasq)
	case "mtu":
		return b.parseMTU(r)
	case "queues":
		return r.Bounded(&b.queues, 1, maxQueues)
	case "linklocal":
		on := !b.noLinkLocal
		err := r.Bool(&on)
		b.noLinkLocal = !on
		return err
	}
	return nil
}

// field reads one key of the bridge plugin.
func (b *bridgeKeys) field(r *jsontext.Reader, key string) error {
	switch key {
	case "bridge":
		return b.parseName(r)
	case "isgateway":
		return r.Bool(&b.isGateway)
	case "isdefaultgateway":
		return r.Bool(&b.isDefaultGateway)
	case "forceaddress":
		return r.Bool(&b.forceAddress)
	case "hairpinmode":
		return r.Bool(&b.hairpin)
	case "promiscmode":
		return r.Bool(&b.promisc)
	case "vlan":
		return b.parseVLAN(r)
	case "vlantrunk":
		return b.parseTrunk(r)
	case "preservedefaultvlan":
		return r.Bool(&b.keepDefaultVLAN)
	case "macspoofchk":
		return r.Bool(&b.macSpoofCheck)
	case "enabledad":
		return r.Bool(&b.dad)
	case "disablecontainerinterface":
		return r.Bool(&b.containerDown)
	case "portisolation":
		return r.Bool(&b.isolated)
	}
	return nil
}

// parseMTU says of a link's MTU what the kernel would.
func (b *bridgeKeys) parseMTU(r *jsontext.Reader) error {
	n, ok, err := r.Whole()
	switch {
	case !ok:
	case n < -1<<31 || n > maxMTU:
		r.Wrong("failed to make veth pair: "+unix.EINVAL.Error(), "at most "+strconv.Itoa(maxMTU)+", got "+strconv.Itoa(n))
	default:
		b.mtu = n
	}
	return err
}

func (b *bridgeKeys) parseName(r *jsontext.Reader) error {
	if err := r.Str(&b.name); err != nil {
		return err
	}
	if problem := names.LinkProblem(b.name); problem != "" {
		fault.Note(r, badBridgeName(b.name, problem))
	}
	return nil
}

// badBridgeName says of a name what the kernel and netlink's library do, and why.
func badBridgeName(name, problem string) *Error {
	refusal := error(unix.EINVAL)
	switch {
	case name == "":
		refusal = errors.New("LinkAttrs.Name cannot be empty")
	case len(name) > names.MaxLink:
		refusal = unix.ERANGE
	}
	e := invalidKey("bridge", "failed to create bridge "+quote(name)+": could not add "+quote(name)+": "+refusal.Error())
	e.Details = "bridge: " + problem
	return e
}

func (b *bridgeKeys) parseBackend(r *jsontext.Reader) error {
	b.ipMasqBackend = ""
	if err := r.Str(&b.ipMasqBackend); err != nil {
		return err
	}
	switch b.ipMasqBackend {
	case "", "iptables", "nftables":
	default:
		fault.Note(r, fault.Expected("ipMasqBackend", "unknown ipmasq backend "+quote(b.ipMasqBackend), `"iptables" or "nftables"`))
	}
	return nil
}

func (n *Network) parseDNS(r *jsontext.Reader) error {
	dns := wire.DNS{}
	present, err := dns.Read(r)
	n.dns, n.hasDNS = DNS(dns), present
	return err
}

// parseArgs reads args. Its null is IPAM's alone, as a pointer is only there.
func (n *Network) parseArgs(r *jsontext.Reader) error {
	if r.Kind() == 'n' {
		n.ipam.args = wishes{}
	}
	return r.Object(func(key string) error {
		if key != "cni" {
			return nil
		}
		if r.Kind() == 'n' {
			n.ipam.args = wishes{}
		}
		return r.Object(func(key string) error {
			switch key {
			case "mac":
				return n.about(ofMAC, r, func() error { return r.Str(&n.macs[macArgs]) })
			case "ips":
				return n.about(ofIPAM, r, func() error { return readWanted(r, &n.ipam.args) })
			}
			return nil
		})
	})
}

// runtimeField reads one key of runtimeConfig.
func (n *Network) runtimeField(r *jsontext.Reader, key string) error {
	switch key {
	case "mac":
		return n.about(ofMAC, r, func() error { return r.Str(&n.macs[macRuntime]) })
	case "ips":
		return n.about(ofIPAM, r, func() error { return readWanted(r, &n.ipam.runtime) })
	case "ipranges":
		return n.about(ofIPAM, r, func() error { return readRangeSets(r, &n.ipam.runtimeRanges) })
	}
	return nil
}

// parseValid reads GC's list. Both of its keys say the same; the last one wins.
func (n *Network) parseValid(r *jsontext.Reader) error {
	valid := []Attachment{}
	_, err := r.List(func() error {
		var a Attachment
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
	n.valid = valid
	return err
}
