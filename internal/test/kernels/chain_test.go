// SPDX-License-Identifier: Apache-2.0

package kernels

// chain: what a runtime's usual list of plugins does, by libcni, with a second attachment beside
// the first.
var chain = []step{
	{"add_c1", "ip netns add c1 && tool add whole c1", succeeds},
	{"add_c2", "nft -t -s list ruleset 2>/dev/null > /run/rules; ip netns add c2 && tool add whole c2", succeeds},
	{"no_rule_for_the_second", "nft -t -s list ruleset 2>/dev/null | cmp /run/rules -", prints("")},
	{"check", "tool check whole c1 && tool check whole c2", prints("")},
	{"reaches_all", "for a in 10.8.0.1 10.8.0.3 192.0.2.1 fd00:8::1 fd00:8::3; do inside c1 ping -c1 -W60 $a || exit; done", succeeds},
	{"serve", "inside c1 busybox httpd -p 80 -h /mnt/www", succeeds},
	{"port_from_outside", "inside out page 192.0.2.2 8080", prints("a page from inside")},
	{"port_from_a_neighbour", "inside c2 page 192.0.2.2 8080", prints("a page from inside")},
	{"port_from_itself", "inside c1 page 192.0.2.2 8080", prints("a page from inside")},
	{"port_from_the_host", "page 192.0.2.2 8080", prints("a page from inside")},
	{"tuned", "inside c1 cat /proc/sys/net/ipv4/conf/eth0/log_martians /sys/class/net/eth0/mtu | xargs", prints("1 1400")},
	{"shaped", "tc qdisc | grep -c tbf", prints("4")},
	{"check_finds_a_lost_port", "nft flush map inet swiftcni tcp4; tool check whole c1", fails},
	{"del_c1", "tool del whole c1 && tool del whole c1", prints("")},
	{"only_the_second_is_left", "nft list ruleset 2>/dev/null | grep -oE '10\\.8\\.0\\.[2-9]' | sort -u; ls /var/lib/cni/networks/whole | grep 10.8", prints("10.8.0.3\n10.8.0.3")},
	{"second_still_reaches", "inside c2 ping -c1 -W60 192.0.2.1", succeeds},
	// libcni forgets c2, and its namespace ends: only GC finds what's left.
	{"lose_c2", `rm -r /var/lib/cni/results; ip netns delete c2
		for i in $(seq 6000); do ip -brief link show master whole | grep -q . || exit 0; busybox sleep 0.1; done; exit 1`, succeeds},
	{"gc", "tool gc whole c1", prints("")},
	// libcni named no attachment, since it knows none: what's gone is found by what's left of it.
	{"no_ifb_left", "ip -brief link show type ifb | grep ^bwp", prints0},
	{"nothing_in_the_ruleset", "nft list ruleset 2>/dev/null | grep -E '10\\.8\\.0\\.[2-9]|fd00:8::[2-9]|808[01]'", prints0},
}

// others: the plugins that aren't in that list.
var others = []step{
	{"add_p1", "ip netns add p1 && tool add point p1", succeeds},
	{"check_p1", "tool check point p1", prints("")},
	{"rule_by_source", "ip -netns p1 rule | grep -c 'from 10.9.0.2'", prints("1")},
	{"p1_reaches_outside", "inside p1 ping -c1 -W60 -I 10.9.0.2 192.0.2.1", succeeds},
	{"p1_without_masquerade", "nft flush ruleset; inside p1 ping -c1 -W1 -I 10.9.0.2 192.0.2.1", hearsNothing},
	{"del_p1", "tool del point p1", prints("")},
	{"loopback", "ip netns add l1 && CNI_IFNAME=lo tool add lonely l1 && CNI_IFNAME=lo tool check lonely l1", succeeds},
	{"loopback_is_up", "inside l1 ping -c1 -W60 127.0.0.1", succeeds},
	{"del_loopback", "CNI_IFNAME=lo tool del lonely l1", prints("")},
	{"no_link_left", "ip -brief link | grep -E '^(veth|bwp)' | grep -v @gw.100", prints0},
	{"no_file_left", "find /var/lib/cni/networks /var/lib/cni/results /run/cni -type f | grep -vE '/(lock|last_reserved_ip.*|@boot.*)$'", prints0},
	{"the_kernel_complained_of_nothing", "dmesg | grep -E 'WARNING:|BUG:|Oops|netlink: .* attribute'", prints0},
}
