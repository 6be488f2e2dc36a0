#!/bin/bash
# Installs what the tests use of Debian, where it's missing; with the argument "worlds" also what only `make worlds` does. As root.
set -eu
need=()
add() { command -v "$1" >/dev/null || need+=("$2"); }
add ip iproute2; add nft nftables; add iptables iptables; add runc runc; add busybox busybox-static; add jq jq
add strace strace; add perf linux-perf; add gcc gcc; add qemu-system-x86_64 qemu-system-x86; add cpio cpio; add depmod kmod
add firewalld firewalld; add ufw ufw; add dbus-daemon dbus-daemon; add dnsmasq dnsmasq-base; add linux.uml user-mode-linux; add iperf3 iperf3; add nsenter util-linux; add ping iputils-ping; add catatonit catatonit
add mandoc mandoc; add podman podman; add conmon conmon; add crun crun; add containerd containerd; add bird bird2
if [ "${1:-}" = worlds ]; then add etcd etcd-server; add openssl openssl; fi
[ -e /usr/lib/x86_64-linux-gnu/libc.a ] || need+=(libc6-dev)
[ ${#need[@]} = 0 ] && exit 0
# podman's package brings a network for a runtime to take up, such as a kubelet's on this machine: only one that was here stays.
network=/etc/cni/net.d/87-podman-bridge.conflist
[ -e "$network" ] || trap 'rm -f "$network"' EXIT
export DEBIAN_FRONTEND=noninteractive
apt-get update -qq
apt-get install -y -qq --no-install-recommends "${need[@]}" >/dev/null
