#!/bin/bash
# Base chains are a shared and small resource: 1,024 on one netfilter hook of a network namespace, whoever made them.
#
# nft keeps a chain of its own type and table for whoever asks, so tools that make a base chain for each network or
# address look harmless. At the 1,025th the kernel answers E2BIG, not only to the tool that made the others: iptables
# can't make its nat table either, and a host without NAT is the result. The families ip and inet share the hooks.
# Seen with nftables 1.0.6 and iptables 1.8.9 on Linux 6.18; the limit is MAX_HOOK_COUNT (net/netfilter/core.c).
set -eu
pin="nftables=1.0.6-2+deb12u2 libnftables1=1.0.6-2+deb12u2 libnftnl11=1.2.4-2 libjansson4=2.14-2 iptables=1.8.9-2 libxtables12=1.8.9-2"
dir=$(mktemp -d); trap 'rm -rf "$dir"' EXIT; cd "$dir"
apt-get download -qq $pin 2>/dev/null
for f in *.deb; do dpkg -x "$f" root; done
export LD_LIBRARY_PATH=$dir/root/usr/lib/$(uname -m)-linux-gnu NFT=$dir/root/usr/sbin/nft IPTABLES=$dir/root/usr/sbin/iptables-nft
export XTABLES_LIBDIR=$LD_LIBRARY_PATH/xtables
echo "$($NFT --version), $($IPTABLES --version), Linux $(uname -r)"
unshare -n bash -eu <<'BOX'
chains() { echo "table inet t {"; for i in $(seq $1 $2); do echo "chain c$i { type nat hook postrouting priority 100; }"; done; echo "}"; }
chains 1 1024 | $NFT -f -
echo "1024 base chains: taken"
said=$(chains 1025 1025 | $NFT -f - 2>&1) && { echo "the 1025th was taken"; exit 1; }
echo "the 1025th: $(head -1 <<<"$said")"; grep -q "Argument list too long" <<<"$said"
said=$($IPTABLES -t nat -A POSTROUTING -j ACCEPT 2>&1) && { echo "iptables still works"; exit 1; }
echo "iptables: $(tail -1 <<<"$said")"
$NFT delete chain inet t c1
$IPTABLES -t nat -A POSTROUTING -j ACCEPT
echo "with one chain less, iptables works again"
BOX
echo "as described"
