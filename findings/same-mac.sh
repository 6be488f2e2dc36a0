#!/bin/bash
# Setting a link's MAC to the one that it has throws away all its neighbour entries, the permanent ones too.
#
# `ip link set br0 address SAME` changes nothing that `ip link show` tells, and yet the host forgets every neighbour on
# the bridge in both families. A program that sets the MAC of a bridge "to be sure" whenever a container comes, as the CNI
# plugin bridge v1.10.0 does, lets the host ask for all other containers again, and deletes what an administrator wrote
# by hand. Compare before setting.
# Seen with iproute2 6.1.0 on Linux 6.18; dev_set_mac_address tells NETDEV_CHANGEADDR without comparing
# (net/core/dev.c), and arp_netdev_event and ndisc_netdev_event flush for it (neigh_changeaddr).
set -eu
pin="iproute2=6.1.0-3 libbpf1=1:1.1.2-0+deb12u1"
dir=$(mktemp -d); trap 'rm -rf "$dir"' EXIT; cd "$dir"
apt-get download -qq $pin 2>/dev/null
for f in *.deb; do dpkg -x "$f" root; done
export LD_LIBRARY_PATH=$dir/root/usr/lib/$(uname -m)-linux-gnu IP=$dir/root/bin/ip
echo "$($IP -V), Linux $(uname -r)"
unshare -n bash -eu <<'BOX'
mac() { $IP -br link show br0 | awk '{print $3}'; }
neighbours() { { $IP neigh show dev br0; $IP -6 neigh show dev br0; } | sort -u; }
$IP link add br0 address 02:00:00:00:00:01 type bridge
$IP link set br0 up
$IP neigh add 10.9.0.7 lladdr 02:00:00:00:00:07 nud permanent dev br0
$IP neigh add 10.9.0.8 lladdr 02:00:00:00:00:08 nud reachable dev br0
$IP neigh add fd00::7 lladdr 02:00:00:00:00:07 nud permanent dev br0
before=$(mac)
echo "before:"; neighbours; [ "$(neighbours | wc -l)" = 3 ]
$IP link set br0 address "$before"
echo "after setting $before again, which is $(mac): $(neighbours | wc -l) neighbours"
[ "$(mac)" = "$before" ] && [ "$(neighbours | wc -l)" = 0 ]
BOX
echo "as described"
