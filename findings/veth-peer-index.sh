#!/bin/bash
# The index that is asked for a veth's peer counts only when the other end's index is asked for too.
#
# `ip link add name left type veth peer name right index 88` succeeds, and the peer gets whatever index is free. With an index for the
# first end as well, both are honoured. Neither the exit status nor a message tells the two apart, so a program that derives
# indexes must give both, or read back what it got.
# Seen with iproute2 6.1.0 on Linux 6.18; the kernel's code is veth_newlink (drivers/net/veth.c).
set -eu
pin="iproute2=6.1.0-3 libbpf1=1:1.1.2-0+deb12u1"
dir=$(mktemp -d); trap 'rm -rf "$dir"' EXIT; cd "$dir"
apt-get download -qq $pin 2>/dev/null
for f in *.deb; do dpkg -x "$f" root; done
export LD_LIBRARY_PATH=$dir/root/usr/lib/$(uname -m)-linux-gnu IP=$dir/root/bin/ip
echo "$($IP -V), Linux $(uname -r)"
unshare -n bash -eu <<'BOX'
index() { $IP -o link show "$1" | cut -d: -f1; }
$IP link add name left type veth peer name right index 88
echo "peer's index alone: asked 88, got $(index right)"; [ "$(index right)" != 88 ]
$IP link del left
$IP link add name left index 77 type veth peer name right index 88
echo "both: asked 77 and 88, got $(index left) and $(index right)"; [ "$(index left) $(index right)" = "77 88" ]
BOX
echo "as described"
