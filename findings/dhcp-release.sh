#!/bin/bash
# dhcp v1.10.0 sends its release from the address that it releases; behind bridge, which removes the link first, it can't.
#
# v1.9.1 sent DHCPRELEASE from 0.0.0.0 to the server's address, which Linux drops (ip_route_input_slow, net/ipv4/route.c), so no
# server on Linux heard it. v1.10.0 binds port 68 of the address. But bridge deletes the link, and the address with it,
# before it calls the IPAM plugin: bind(2) fails, the daemon only logs that, DEL answers 0, and the server keeps the lease until
# it expires. macvlan and the others call IPAM first, and are heard.
# Seen with the plugins v1.10.0 and dnsmasq 2.90 on Linux 6.18.
set -eu
pin="dnsmasq-base=2.90-4~deb12u2 libnetfilter-conntrack3=1.0.9-3 libnfnetlink0=1.0.2-2 libnftables1=1.0.6-2+deb12u2 libjansson4=2.14-2"
dir=$(mktemp -d); trap 'chmod -R u+w "$dir"; rm -rf "$dir"' EXIT; cd "$dir"
apt-get download -qq $pin 2>/dev/null
for f in *.deb; do dpkg -x "$f" root; done
export LD_LIBRARY_PATH=$dir/root/usr/lib/$(uname -m)-linux-gnu DNSMASQ=$dir/root/usr/sbin/dnsmasq
export GOBIN=$dir/bin CGO_ENABLED=0 GOFLAGS=-modcacherw
go install github.com/containernetworking/plugins/plugins/{main/bridge,ipam/dhcp}@v1.10.0
echo "$($DNSMASQ --version | head -1 | cut -d' ' -f1-3), $(go version -m bin/dhcp | awk '$1 == "mod" {print $2, $3}'), Linux $(uname -r)"
unshare -n -m --pid --fork --kill-child bash -eu <<'BOX'
mount -t proc proc /proc; mount -t tmpfs run /run; mkdir -p /run/netns /run/cni
ip link add br0 address 02:00:00:00:00:01 type bridge; ip link set br0 up; ip address add 192.0.2.1/24 dev br0
ip netns add one
$DNSMASQ --conf-file=/dev/null --port=0 --no-ping --interface=br0 --user=root --pid-file= --dhcp-range=192.0.2.10,192.0.2.99,1h \
  --dhcp-leasefile=/run/leases --log-dhcp --log-facility=/run/log
bin/dhcp daemon >/run/daemon 2>&1 &
until [ -S /run/cni/dhcp.sock ]; do sleep 0.1; done
export CNI_CONTAINERID=one CNI_NETNS=/run/netns/one CNI_IFNAME=eth0 CNI_PATH=$PWD/bin
bridge() { echo '{"cniVersion":"1.0.0","name":"net","type":"bridge","bridge":"br0","ipam":{"type":"dhcp"}}' | CNI_COMMAND=$1 bin/bridge; }
bridge ADD | sed -n 's/.*"address": "\(.*\)".*/ADD got \1/p'
bridge DEL; echo "DEL: status $?"
sleep 1
grep -o 'failed to release DHCP lease.*' /run/daemon
[ "$(grep -c DHCPRELEASE /run/log)" = 0 ]; echo "the server has heard no DHCPRELEASE"
[ "$(wc -l </run/leases)" = 1 ]; echo "and keeps the lease of $(cut -d' ' -f3 /run/leases)"
BOX
echo "as described"
