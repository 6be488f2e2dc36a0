#!/bin/bash
# nft can't read its own JSON of a map whose values are concatenations, though it reads its own text of the same.
#
# `dnat ip to tcp dport map @m` with values of address and port is the usual way to forward many ports by one rule. A host
# that saves such a ruleset by `nft -j list ruleset` and loads it at boot has no ruleset at all: a batch fails as a whole.
# Seen with nftables 1.0.6: "Invalid map type 'ipv4_addr . inet_service'". Its text form loads.
set -eu
pin="nftables=1.0.6-2+deb12u2 libnftables1=1.0.6-2+deb12u2 libnftnl11=1.2.4-2 libjansson4=2.14-2"
dir=$(mktemp -d); trap 'rm -rf "$dir"' EXIT; cd "$dir"
apt-get download -qq $pin 2>/dev/null
for f in *.deb; do dpkg -x "$f" root; done
export LD_LIBRARY_PATH=$dir/root/usr/lib/$(uname -m)-linux-gnu NFT=$dir/root/usr/sbin/nft
$NFT --version
unshare -n bash -eu <<'BOX'
$NFT -f - <<'RULES'
table inet t {
	map m {
		type inet_service : ipv4_addr . inet_service
		elements = { 8080 : 192.0.2.2 . 80 }
	}
	chain c {
		type nat hook prerouting priority -100
		dnat ip to tcp dport map @m
	}
}
RULES
$NFT list ruleset >text; $NFT -j list ruleset >json
$NFT flush ruleset
$NFT -f text; echo "its text: loaded"
$NFT flush ruleset
said=$($NFT -j -f json 2>&1) && { echo "its JSON was loaded as well"; exit 1; }
echo "its JSON: $(grep -m1 Error <<<"$said")"; grep -q "Invalid map type" <<<"$said"
[ -z "$($NFT list ruleset)" ]; echo "and nothing of it is there"
BOX
echo "as described"
