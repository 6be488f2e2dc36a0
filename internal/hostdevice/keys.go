// SPDX-License-Identifier: Apache-2.0

package hostdevice

import (
	"net"
	"path/filepath"
	"strconv"
	"strings"

	"github.com/swiftcni/swiftcni/cni/spec"
	"github.com/swiftcni/swiftcni/internal/fault"
	"github.com/swiftcni/swiftcni/internal/jsontext"
	"github.com/swiftcni/swiftcni/internal/netconf"
	"github.com/swiftcni/swiftcni/internal/verbs"
)

// Keys are the plugin's own. err is the first wrong one. DEL uses what could be read.
type Keys struct {
	conf *netconf.Network

	device     string // a name, which may be an alternative one
	hwaddr     string
	mac        net.HardwareAddr // the key hwaddr
	kernelPath string
	pci        string // an address on that bus, by pciBusID or runtimeConfig.deviceID
	auxiliary  string // a name on that bus, by runtimeConfig.deviceID
	deviceID   string
	takesL3    bool // key "useInterfaceNetwork"
	noLink     bool // key "DPDKMode", which the reference reads by accident: its struct has a field of that name

	err *spec.Error
}

// Read reads the plugin's keys.
func Read(n *netconf.Network) verbs.Plugin {
	r := n.Reader()
	k := &Keys{conf: n}
	err := r.Object(func(key string) error { return k.field(r, key) })
	k.judge(r)
	k.err = fault.First(r, err)
	return k
}

func (k *Keys) field(r *jsontext.Reader, key string) error {
	switch key {
	case "device":
		return r.Str(&k.device)
	case "hwaddr":
		return r.Str(&k.hwaddr)
	case "kernelpath":
		return r.Str(&k.kernelPath)
	case "pcibusid":
		return r.Str(&k.pci)
	case "useinterfacenetwork":
		return r.Bool(&k.takesL3)
	case "dpdkmode":
		return r.Bool(&k.noLink)
	case "runtimeconfig":
		return r.Object(func(key string) error {
			if key != "deviceid" {
				return nil
			}
			return r.Str(&k.deviceID)
		})
	}
	return nil
}

// judge notes what is wrong with the values, once all are known. A value that decides nothing isn't
// looked at.
func (k *Keys) judge(r *jsontext.Reader) {
	note := func(key, msg, expected string) { fault.Note(r, fault.Expected(key, msg, expected)) }
	if k.pci != "" && !isPCI(k.pci) && k.deviceID == "" {
		note("pciBusID", "error with host device: "+strconv.Quote(k.pci)+" is not a PCI address", "a form such as 0000:00:1f.6")
		k.pci = ""
	}
	switch id := k.deviceID; {
	case id == "":
	case isPCI(id):
		k.pci = id
	case isFileName(id):
		k.pci, k.auxiliary = "", id
	default:
		note("runtimeConfig.deviceID", noDeviceID(id), "the name of a device on the PCI or the auxiliary bus")
	}
	switch {
	case k.device != "":
		if strings.ContainsRune(k.device, 0) {
			note("device", notFound("Link not found"), "a name without a zero byte")
		}
	case k.hwaddr != "":
		var err error
		if k.mac, err = net.ParseMAC(k.hwaddr); err != nil {
			note("hwaddr", notFound("failed to parse MAC address "+strconv.Quote(k.hwaddr)+": "+err.Error()), "")
		}
	case k.kernelPath != "" && !isDevicePath(k.kernelPath):
		note("kernelpath", notFound("kernel device path "+strconv.Quote(k.kernelPath)+" must be absolute and begin with /sys/devices/"), "")
	}
}

// notFound is the text of a device that can't be found, with its reason.
func notFound(reason string) string { return "failed to find host device: " + reason }

func noDeviceID(id string) string {
	return "runtime config DeviceID " + id + " not found or unsupported"
}

// isDevicePath reports whether a path leads to a device of sysfs, and nowhere else.
func isDevicePath(path string) bool {
	return strings.HasPrefix(path, "/sys/devices/") && !strings.ContainsRune(path, 0) && strings.HasPrefix(filepath.Clean(path), "/sys/devices/")
}

// isFileName reports whether a device's name is that of a file, and of no other than its own.
func isFileName(s string) bool { return netconf.ValidID(s) }

// isPCI reports whether a text is a device's name on the PCI bus: domain, bus, device and function,
// as 0000:00:1f.6 (pci_setup_device, drivers/pci/probe.c). A domain may have more than four digits.
func isPCI(s string) bool {
	domain, rest, ok := strings.Cut(s, ":")
	if !ok || len(domain) < 4 || len(domain) > 8 || !isHex(domain) || len(rest) != len("00:1f.6") {
		return false
	}
	return isHex(rest[:2]) && rest[2] == ':' && isHex(rest[3:5]) && rest[5] == '.' && rest[6] >= '0' && rest[6] <= '7'
}

func isHex(s string) bool {
	return strings.IndexFunc(s, func(c rune) bool { return (c < '0' || c > '9') && (c < 'a' || c > 'f') && (c < 'A' || c > 'F') }) < 0
}

// errNoDevice is of a configuration that names no device in any way.
func errNoDevice() *spec.Error {
	return fault.Key("device", `specify either "device", "hwaddr", "kernelpath" or "pciBusID"`)
}

func (k *Keys) names() bool {
	return k.device != "" || k.hwaddr != "" || k.kernelPath != "" || k.pci != "" || k.auxiliary != ""
}

// Wrong finds what is wrong with the keys. The runtime may name the device later, where the
// capability says so.
func (k *Keys) Wrong(spec.Attachment) *spec.Error {
	switch {
	case k.err != nil:
		return k.err
	case !k.names() && !k.conf.Capabilities()["deviceID"]:
		return errNoDevice()
	}
	return k.wrongAddresses()
}

// wrong is [Keys.Wrong] for a verb that needs the device.
func (k *Keys) wrong() *spec.Error {
	switch {
	case k.err != nil:
		return k.err
	case !k.names():
		return errNoDevice()
	}
	return k.wrongAddresses()
}

// wrongAddresses is what is wrong with the keys of an IPAM plugin of ours.
func (k *Keys) wrongAddresses() *spec.Error {
	if k.conf.IPAM.Plugin == netconf.HostLocal {
		return k.conf.IPAM.SetsErr
	}
	return nil
}
