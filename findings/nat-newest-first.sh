#!/bin/bash
# Of two NAT chains with one priority the newer gets the packet, and the other isn't asked, whatever order nft lists them in.
#
# nft(8) leaves the order of equal priorities undefined. The kernel's is fixed: nf_hook_entries_grow (net/netfilter/core.c) puts a new
# hook before those of its priority. And nft(8) has a packet go on to the next base chain after a NAT statement; but the NAT core
# (nf_nat_inet_fn, net/netfilter/nf_nat_core.c) asks no further chain once one has chosen an address. Nearly every program that
# masquerades does so at "srcnat": iptables-nft, firewalld, docker, netavark, the CNI plugins. So which of them chooses a connection's
# source address depends on which of them was started last, and `nft list ruleset` shows the loser first. A reload that makes a table
# anew reverses it.
# Seen with nftables 1.0.6 on Linux 6.18.
set -eu
pin="nftables=1.0.6-2+deb12u2 libnftables1=1.0.6-2+deb12u2 libnftnl11=1.2.4-2 libjansson4=2.14-2"
dir=$(mktemp -d); trap 'rm -rf "$dir"' EXIT; cd "$dir"
apt-get download -qq $pin 2>/dev/null
for f in *.deb; do dpkg -x "$f" root; done
export LD_LIBRARY_PATH=$dir/root/usr/lib/$(uname -m)-linux-gnu NFT=$dir/root/usr/sbin/nft
echo "$($NFT --version), Linux $(uname -r)"
unshare -n bash -eu <<'BOX'
ip link set lo up
masquerader() {
	$NFT -f - <<RULES
table ip $1 {
	chain postrouting {
		type nat hook postrouting priority srcnat
		ip daddr 127.0.0.9 counter snat to 127.0.0.$2
	}
}
RULES
}
packets() { $NFT list table ip $1 | grep -o 'packets [0-9]*'; }
masquerader first 11
masquerader second 12
echo "listed: $($NFT list tables | tr '\n' ' ')"
(echo >/dev/udp/127.0.0.9/9) 2>/dev/null
echo "first: $(packets first), second: $(packets second)"
[ "$(packets first), $(packets second)" = "packets 0, packets 1" ]
$NFT delete table ip first; masquerader first 11 # a reload
(echo >/dev/udp/127.0.0.9/9) 2>/dev/null
echo "first once more, so it's the newer: $(packets first), second: $(packets second)"
[ "$(packets first), $(packets second)" = "packets 1, packets 1" ]
BOX
echo "as described"
