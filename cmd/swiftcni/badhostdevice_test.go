// SPDX-License-Identifier: Apache-2.0

package main

func badHostDevice() []badInput {
	row := func(name, keys, msg, key string) badInput {
		return badInput{name: "host-device " + name, program: "host-device", conf: hostDeviceConf("1.1.0", keys), code: 7, msg: msg, key: key}
	}
	with := func(row badInput, change func(*badInput)) badInput {
		change(&row)
		return row
	}
	own := func(r *badInput) { r.ownWords = true }
	const device = `,"device":"dummy0"`
	missing := func(r *badInput) { r.code = 999 }
	return []badInput{
		row("without a device", ``, `specify either "device", "hwaddr", "kernelpath" or "pciBusID"`, "device"),
		row("device a number", `,"device":7`, "expected a string", "device"),
		with(row("device missing", `,"device":"eth7"`, "failed to find host device: Link not found", "eth7"), missing),
		with(row("device of 20 bytes", `,"device":"a-name-of-20-bytes-x"`, "failed to find host device: Link not found", ""), missing),
		row("hwaddr isn't one", `,"hwaddr":"zz"`, `failed to find host device: failed to parse MAC address "zz": address zz: invalid MAC address`, "hwaddr"),
		with(row("hwaddr of nobody", `,"hwaddr":"02:11:22:00:00:99"`, "failed to find host device: failed to find physical interface", ""), missing),
		row("kernelpath elsewhere", `,"kernelpath":"/etc"`, `failed to find host device: kernel device path "/etc" must be absolute and begin with /sys/devices/`, "kernelpath"),
		with(row("kernelpath leads out", `,"kernelpath":"/sys/devices/../../etc"`, "must be absolute and begin with /sys/devices/", "kernelpath"), own),
		with(row("kernelpath missing", `,"kernelpath":"/sys/devices/nowhere"`, "failed to find host device: failed to read directory /sys/devices/nowhere/net", ""), missing),
		with(row("pciBusID leads out", `,"pciBusID":"../../../../etc"`, "is not a PCI address", "pciBusID"), own),
		with(row("pciBusID missing", `,"pciBusID":"ffff:ff:1f.7"`, "error with host device: lstat /sys/bus/pci/devices/ffff:ff:1f.7: no such file or directory", ""), missing),
		row("hwaddr a number", `,"hwaddr":7`, "expected a string", "hwaddr"),
		row("kernelpath a number", `,"kernelpath":7`, "expected a string", "kernelpath"),
		row("pciBusID a number", `,"pciBusID":7`, "expected a string", "pciBusID"),
		row("runtimeConfig a list", device+`,"runtimeConfig":[]`, "expected an object", "runtimeConfig"),
		row("deviceID a number", device+`,"runtimeConfig":{"deviceID":7}`, "expected a string", "runtimeConfig.deviceID"),
		row("DPDKMode a string", device+`,"DPDKMode":"yes"`, "expected a boolean", "DPDKMode"),
		row("deviceID leads out", `,"runtimeConfig":{"deviceID":"../x"}`, "runtime config DeviceID ../x not found or unsupported", "runtimeConfig.deviceID"),
		row("deviceID missing", device+`,"runtimeConfig":{"deviceID":"mlx5_core.sf.4"}`, "runtime config DeviceID mlx5_core.sf.4 not found or unsupported", "runtimeConfig.deviceID"),
		row("useInterfaceNetwork a string", device+`,"useInterfaceNetwork":"yes"`, "expected a boolean", "useInterfaceNetwork"),
		row("useInterfaceNetwork of DPDK", device+`,"useInterfaceNetwork":true,"DPDKMode":true`, "useInterfaceNetwork is not supported for dpdk-bound devices", "useInterfaceNetwork"),
		row("no addresses", device+`,"ipam":{"type":"static"}`, "IPAM plugin returned missing IP config", ""),
		row("range isn't one", device+`,"ipam":{"type":"host-local","subnet":"x"}`, "invalid CIDR address: x", "ipam.subnet"),
		row("dns a list", device+`,"dns":[]`, "expected an object", "dns"),
		with(row("of the host", device, "should not be the same", ""), func(r *badInput) { r.code, r.env = 8, env{"CNI_NETNS": "/proc/self/ns/net"} }),
		with(row("of nobody", device, `failed to open netns "/nowhere"`, ""), func(r *badInput) { r.code, r.env = 4, env{"CNI_NETNS": "/nowhere"} }),
		with(row("interface taken", device, `failed to move link failed to move "lo" (host: "dummy0") to container NS`, ""), func(r *badInput) {
			r.code, r.env, r.ownWords = 101, env{"CNI_IFNAME": "lo"}, true
		}),
		with(row("CHECK without result", device, "Required prevResult missing", ""), func(r *badInput) { r.verb = "CHECK" }),
		with(row("STATUS with a bad key", `,"hwaddr":"zz"`, "", "hwaddr"), func(r *badInput) { r.verb, r.ownWords = "STATUS", true }),
		with(row("argument that nobody reads", device+`,"ipam":{"type":"static"}`, `ARGS: unknown args ["X=y"]`, ""), func(r *badInput) { r.code, r.env = 4, env{"CNI_ARGS": "X=y"} }),
	}
}
