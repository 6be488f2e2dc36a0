#!/bin/bash
# The namespace that a veth was made in knows where its ends are for as long as the veth lives, even if neither is there any more.
#
# The kernel gives a number to the namespace of a link's other end, and to one that a link is moved to, in the namespace that this
# is done from. The number stays until the namespace that it stands for dies, whoever holds that one: neither a path that was
# unmounted nor a link that has left ends it. So "the link is nowhere" can be asked: by RTM_GETNSID and by RTM_GETLINK with
# IFLA_TARGET_NETNSID, which iproute2 has no word for. A macvlan that's made for another namespace gets that one no number.
# Seen with iproute2 6.1.0 on Linux 6.18, 6.1 and 5.10; the kernel's code is peernet2id_alloc and cleanup_net
# (net/core/net_namespace.c), rtnl_fill_link_netnsid (net/core/rtnetlink.c) and dev_change_net_namespace (net/core/dev.c).
set -eu
pin="iproute2=6.1.0-3 libbpf1=1:1.1.2-0+deb12u1"
dir=$(mktemp -d); trap 'rm -rf "$dir"' EXIT; cd "$dir"
apt-get download -qq $pin 2>/dev/null
for f in *.deb; do dpkg -x "$f" root; done
export LD_LIBRARY_PATH=$dir/root/usr/lib/$(uname -m)-linux-gnu IP=$dir/root/bin/ip
echo "$($IP -V), Linux $(uname -r)"
unshare -nm bash -eu <<'BOX'
mount -t tmpfs run /run
for n in container router macvlan; do $IP netns add $n; done
numbers() { $IP netns list-id | grep -c nsid || true; }
$IP link add host type veth peer name eth0 netns container
echo "made: $(numbers) number"; [ "$(numbers)" = 1 ]
$IP link add link host name mac0 netns macvlan type macvlan
echo "a macvlan made elsewhere: $(numbers)"; [ "$(numbers)" = 1 ]
$IP link set host netns router
echo "the host end moved: $(numbers)"; [ "$(numbers)" = 2 ]
nsenter --net=/run/netns/container sleep 60 & sleep 0.2
$IP netns del container
echo "its path is gone, and a process holds the other end's namespace: $(numbers)"; [ "$(numbers)" = 2 ]
kill $!; wait $! 2>/dev/null || true
for i in $(seq 100); do [ "$(numbers)" = 1 ] && break; sleep 0.1; done
echo "its namespace is gone: $(numbers), and the host end with it"; ! $IP -n router link show host 2>/dev/null
BOX
echo "as described"
