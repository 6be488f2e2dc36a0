# A host with an uplink to the namespace "out", a network of bridge, portmap and firewall, one of ptp, and functions to attach
# and to look. It's run in namespaces of its own, so that all ends with it.
set -e
mount --make-rprivate /
for dir in /run /var/lib /etc/cni /etc/firewalld /opt; do
	[ ! -d $dir ] || mount -t tmpfs tmp $dir
done
mkdir /run/ufw
cp -r /etc/ufw/. /run/ufw
mount --bind /run/ufw /etc/ufw
mkdir -p /run/netns /run/lock /run/conf /run/www /run/dbus
ip link set lo up
ip netns add out
ip link add up0 type veth peer name eth0 netns out
ip link set up0 up
ip address add 192.0.2.2/24 dev up0
ip address add 2001:db8:ffff::2/64 dev up0 nodad
sysctl -qw net.ipv6.conf.up0.accept_ra=2
ip -n out link set lo up
ip -n out link set eth0 up
ip -n out address add 192.0.2.1/24 dev eth0
ip -n out address add 2001:db8:ffff::1/64 dev eth0 nodad
ip -n out route add 10.9.0.0/16 via 192.0.2.2
ip -n out route add fd00:9::/48 via 2001:db8:ffff::2
ip route add default via 192.0.2.1
ip -6 route add default via 2001:db8:ffff::1
echo hello >/run/www/index.html
ip netns exec out busybox httpd -p 9090 -h /run/www

cat >/run/conf/net.conflist <<'END'
{ "cniVersion": "1.1.0", "name": "net", "plugins": [
  { "type": "bridge", "bridge": "cni0", "isGateway": true, "ipam": { "type": "host-local", "dataDir": "/run/leases",
    "ranges": [ [ { "subnet": "10.9.0.0/24" } ], [ { "subnet": "fd00:9::/64" } ] ], "routes": [ { "dst": "0.0.0.0/0" }, { "dst": "::/0" } ] } },
  { "type": "portmap", "capabilities": { "portMappings": true } },
  { "type": "firewall" } ] }
END
cat >/run/conf/bare.conflist <<'END'
{ "cniVersion": "1.1.0", "name": "bare", "plugins": [
  { "type": "bridge", "bridge": "bare0", "isGateway": true,
    "ipam": { "type": "host-local", "dataDir": "/run/leases", "subnet": "10.9.1.0/24", "routes": [ { "dst": "0.0.0.0/0" } ] } } ] }
END
cat >/run/conf/ptp.conflist <<'END'
{ "cniVersion": "1.1.0", "name": "ptp", "plugins": [
  { "type": "ptp", "ipam": { "type": "host-local", "dataDir": "/run/leases", "subnet": "10.9.2.0/24", "routes": [ { "dst": "0.0.0.0/0" } ] } } ] }
END

# attach NETWORK CONTAINER [MAPPINGS] does what libcni does: it calls each plugin with the last one's result, and keeps all in its cache.
attach() {
	conf=/run/conf/$1.conflist mappings=${3:-null} prev=null
	ip netns add $2
	ip -n $2 link set lo up
	for i in $(jq -r '.plugins | keys[]' $conf); do
		text=$(jq -c --argjson i $i --argjson prev "$prev" --argjson mappings "$mappings" '.name as $name | .plugins[$i] + {name: $name, cniVersion: .cniVersion}
			+ if $prev == null then {} else {prevResult: $prev} end
			+ if $mappings != null and .plugins[$i].capabilities.portMappings then {runtimeConfig: {portMappings: $mappings}} else {} end' $conf)
		prev=$(echo "$text" | CNI_COMMAND=ADD CNI_CONTAINERID=$2 CNI_NETNS=/run/netns/$2 CNI_IFNAME=eth0 CNI_PATH=/nowhere $(echo "$text" | jq -r .type))
	done
	mkdir -p /var/lib/cni/results
	jq -n --arg id $2 --arg net $1 --arg config "$(base64 -w0 $conf)" --argjson mappings "$mappings" --argjson result "$prev" \
		'{kind: "cniCacheV1", containerId: $id, config: $config, ifName: "eth0", networkName: $net, result: $result}
		+ if $mappings == null then {} else {capabilityArgs: {portMappings: $mappings}} end' >/var/lib/cni/results/$1-$2-eth0
	ip netns exec $2 busybox httpd -p 80 -h /run/www
}
# A way that is open is given as long as a busy machine takes, where IPv6's neighbours may be unreachable for some seconds; one that
# is cut is believed sooner.
get() { ip netns exec $1 timeout ${bound:-60} bash -c "until (exec 3<>/dev/tcp/$2/$3); do sleep 0.1; done" 2>/dev/null; }
sends() { get ${1:-c1} 192.0.2.1 9090 && { [ -n "$1" ] || get c1 2001:db8:ffff::1 9090; }; }
answers() { get out 192.0.2.2 8080; }

# Each fault is found by its kind, and mended by the command that comes with it, while no configuration is named.
doctor() { swiftctl doctor "$@" 2>/dev/null || true; }
content() { found=$(doctor --json | jq -c '.[]'); [ -z "$found" ] || { echo "$1: found $found"; exit 1; }; }
finds() { # KIND...
	found=$(doctor --json)
	kinds=$(echo "$found" | jq -r '[.[].kind] | unique | join(" ")')
	[ "$kinds" = "$*" ] || { echo "not just $*: $found"; exit 1; }
}
mends() { # runs the remedies of all findings
	doctor --json | jq -r '.[].remedy' | sed -E 's/.*, or: //; s/(, or|; for good,) .*//' | awk '!seen[$0]++' | while read -r line; do
		echo "+ $line"
		sh -e -c "$line" >/run/mended 2>&1 || { echo "$line: $(cat /run/mended)"; exit 1; }
	done
}
# awaits COMMAND... waits until it works; the test that hangs here fails by its own bound.
awaits() { until "$@" >/dev/null 2>&1; do sleep 0.1; done; }
firewalld_starts() {
	mkdir -p /run/dbus
	dbus-daemon --system --nopidfile --address=unix:path=/run/dbus/system_bus_socket --fork
	mkdir -p /run/firewalld.d
	firewalld --nofork --nopid --system-config /run/firewalld.d --log-target file --log-file /run/firewalld.log >/dev/null 2>&1 &
	awaits firewall-cmd --state
}
router_starts() {
	ip netns exec out dnsmasq --conf-file=/dev/null --port=0 --interface=eth0 --bind-interfaces --enable-ra --ra-param=eth0,4,600 \
		--dhcp-range=2001:db8:ffff::,ra-only,64,600 --pid-file=/run/dnsmasq.pid --dhcp-leasefile=/run/dnsmasq.leases --user=root
}
keeper_listens() { # as podman has conmon do
	python3 -c 'import socket; s = socket.create_server(("", 8080)); open("/proc/self/comm", "w").write("conmon"); open("/run/kept", "w"); s.accept()' &
	awaits test -e /run/kept
}
cut() { # COMMAND... must fail
	! bound=3 "$@" || { echo "$* still works"; exit 1; }
}
attach net c1 '[{"hostPort":8080,"containerPort":80,"protocol":"tcp"}]'
sends
answers
content "a healthy host"
