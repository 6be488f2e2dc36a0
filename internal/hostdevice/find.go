// SPDX-License-Identifier: Apache-2.0

package hostdevice

import (
	"bytes"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"github.com/swiftcni/swiftcni/cni/spec"
	"github.com/swiftcni/swiftcni/internal/fault"
	"github.com/swiftcni/swiftcni/rtnl"
	"golang.org/x/sys/unix"
)

// Devices of the two buses, by their names (Documentation/ABI/testing/sysfs-bus-pci).
const (
	pciDevices       = "/sys/bus/pci/devices"
	auxiliaryDevices = "/sys/bus/auxiliary/devices"
)

// find returns the device's link in a conn's namespace. The first key that is set decides, in the
// reference's order.
func (k *Keys) find(conn *rtnl.Conn) (rtnl.LinkState, error) {
	switch {
	case k.device != "":
		return link(conn, "device", k.device)
	case k.hwaddr != "":
		return k.byMAC(conn)
	case k.kernelPath != "":
		return inDirectory(conn, "kernelpath", filepath.Join(k.kernelPath, "net"))
	case k.pci != "":
		dir, err := pciDirectory(k.pci)
		if err != nil {
			return rtnl.LinkState{}, err
		}
		return inDirectory(conn, k.busKey(), dir)
	}
	return inDirectory(conn, k.busKey(), filepath.Join(auxiliaryDevices, k.auxiliary, "net"))
}

// busKey is the key that names a device on a bus.
func (k *Keys) busKey() string {
	if k.deviceID != "" {
		return "runtimeConfig.deviceID"
	}
	return "pciBusID"
}

// errNotFound is the error of a device that isn't there.
func errNotFound(key, reason string, err error) *spec.Error {
	return &spec.Error{Code: spec.CodeInternal, Msg: notFound(reason), Key: key, Err: err}
}

func link(conn *rtnl.Conn, key, name string) (rtnl.LinkState, error) {
	l, err := conn.Link(name)
	switch {
	case fault.Absent(err):
		e := errNotFound(key, "Link not found", err)
		return l, fault.Because(e, "the host has no link "+strconv.Quote(name)+": another container may have it")
	case err != nil:
		return l, errNotFound(key, err.Error(), err)
	}
	return l, nil
}

func (k *Keys) byMAC(conn *rtnl.Conn) (rtnl.LinkState, error) {
	l, ok, err := first(conn, func(l *rtnl.LinkState) bool { return bytes.Equal(l.MAC, k.mac) })
	switch {
	case err != nil:
		return l, errNotFound("hwaddr", "failed to list node links: "+err.Error(), err)
	case ok:
		return l, nil
	}
	return rtnl.LinkState{}, fault.Because(errNotFound("hwaddr", "failed to find physical interface", nil),
		"no link of the host has the address "+k.mac.String()+": another container may have it")
}

// first finds the first link of a conn's namespace that's wanted.
func first(conn *rtnl.Conn, wanted func(*rtnl.LinkState) bool) (rtnl.LinkState, bool, error) {
	for l, err := range conn.Links(rtnl.LinkFilter{}) {
		if err != nil {
			return l, false, err
		}
		if wanted(&l) {
			return l, true, nil
		}
	}
	return rtnl.LinkState{}, false, nil
}

// inDirectory returns the first link that a directory of sysfs names. sysfs shows the links of the
// namespace that it was mounted in.
func inDirectory(conn *rtnl.Conn, key, dir string) (rtnl.LinkState, error) {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return rtnl.LinkState{}, errNotFound(key, "failed to read directory "+dir+": "+strconv.Quote(err.Error()), err)
	}
	if len(entries) == 0 {
		return rtnl.LinkState{}, fault.Because(errNotFound(key, "failed to find network device in path "+dir, nil), "another container may have it")
	}
	return link(conn, key, entries[0].Name())
}

// pciDirectory is where sysfs names the links of a device. Those of virtio have one of their own
// between.
func pciDirectory(address string) (string, error) {
	device := filepath.Join(pciDevices, address)
	entries, err := os.ReadDir(device)
	virtio := ""
	for _, e := range entries {
		switch name := e.Name(); {
		case name == "net":
			return filepath.Join(device, name), nil
		case virtio == "" && strings.HasPrefix(name, "virtio") && exists(filepath.Join(device, name, "net")):
			virtio = filepath.Join(device, name, "net")
		}
	}
	if virtio == "" {
		return "", errNotFound("pciBusID", "no net directory under pci device "+address, err)
	}
	return virtio, nil
}

func exists(path string) bool {
	var st unix.Stat_t
	return unix.Lstat(path, &st) == nil
}

// isThere refuses a device that the runtime has chosen and that no bus has.
func (k *Keys) isThere() *spec.Error {
	if id := k.deviceID; id == "" || exists(filepath.Join(pciDevices, id)) || k.auxiliary != "" && exists(filepath.Join(auxiliaryDevices, id)) {
		return nil
	}
	return fault.Expected("runtimeConfig.deviceID", noDeviceID(k.deviceID), "a device on the PCI or the auxiliary bus")
}

// userspace reports whether a program of DPDK's has the device. Such a device has no link, so there
// is nothing to move.
func (k *Keys) userspace() (bool, error) {
	if k.pci == "" {
		return k.noLink, nil
	}
	path := filepath.Join(pciDevices, k.pci, "driver")
	driver, err := os.Readlink(path)
	if err != nil {
		if device := filepath.Dir(path); !exists(device) {
			path = device
		}
		reason := err.Error()
		if e, ok := err.(*os.PathError); ok {
			reason = "lstat " + path + ": " + e.Err.Error()
		}
		return false, &spec.Error{Code: spec.CodeInternal, Msg: "error with host device: " + reason, Key: k.busKey(), Err: err}
	}
	switch filepath.Base(driver) {
	case "vfio-pci", "uio_pci_generic", "igb_uio":
		return true, nil
	}
	return false, nil
}
