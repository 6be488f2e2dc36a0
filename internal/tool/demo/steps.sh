#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
#
# The demonstration itself. demo.sh starts it as the first process of the box; when it ends, all ends.
set -euo pipefail
: "${HERE:?}" "${WORK:?}" "${CGROUP:?}" "${CNI_PATH:?}" "${SWIFTCTL:?}"
export CNI_PATH
# shellcheck source-path=SCRIPTDIR source=say.sh
source "$HERE/say.sh"
# shellcheck source-path=SCRIPTDIR source=world.sh
source "$HERE/world.sh"

main() {
	by_script
	by_hook
}

by_script() {
	step "A host in a box" "Namespaces of its own: nothing below touches this machine's network, rules or files."
	furnish_box
	build_outside
	show ip -brief address
	show outside ip route
	check "the outside serves pages and names" eventually both_serve

	step "Two containers" "runc gives each an empty network namespace: no link but lo, nobody to talk to."
	make_bundle c1
	make_bundle c2
	show start c1
	show start c2
	show runc exec c1 ip link
	refused "c1 can't reach the outside" runc exec c1 ping -c1 -W1 192.0.2.1

	step "ADD, by the classic script" "Five variables, the configuration on standard input: the plugin does the rest."
	show cat "$HERE/mynet.conf"
	show "$HERE/runc_cni.sh" ADD c1
	"$HERE/runc_cni.sh" ADD c2 > "$WORK/c2.json"
	check "c2 has been given 172.19.1.3, in 0.2.0's own result form" \
		jq -e '.cniVersion == "0.2.0" and .ip4.ip == "172.19.1.3/24" and .ip4.gateway == "172.19.1.1"' "$WORK/c2.json"
	show runc exec c1 ip address show eth0
	show runc exec c1 ip route

	step "They talk" "To each other, to the gateway (the bridge), and to the outside."
	show runc exec c1 ping -c1 -W60 172.19.1.3
	check "c2 reaches c1" runc exec c2 ping -c1 -W60 172.19.1.2
	check "c1 reaches its gateway 172.19.1.1" runc exec c1 ping -c1 -W60 172.19.1.1
	check "c1 reaches the outside 192.0.2.1" runc exec c1 ping -c1 -W60 192.0.2.1

	step "Masquerade" "The outside has no route to the containers: it answers because it sees the host's address."
	refused "the outside can't reach 172.19.1.2 by itself" outside ping -c1 -W1 172.19.1.2
	show runc exec c1 sh -c 'printf "GET / HTTP/1.0\r\n\r\n" | nc 192.0.2.1 80'
	check "the outside's log names the host, 192.0.2.2, as the client" eventually grep -F 192.0.2.2 "$WORK/pages.log"
	refused "and no container" grep -F 172.19.1. "$WORK/pages.log"
	show nft list ruleset

	step "What the host holds" "A lease each, a port each, and the owner's address in the ruleset."
	show ls /run/ipam-state/mynet
	show ip -brief link show master cnibr0
	check "two leases" holds_leases 2
	check "two ports" holds_ports 2

	step "DEL, by the same script" "The containers still run: they lose the network, and the host forgets them."
	show "$HERE/runc_cni.sh" DEL c1
	"$HERE/runc_cni.sh" DEL c2
	check "DEL once more is no error" "$HERE/runc_cni.sh" DEL c2
	refused "c1 has no eth0 any more" runc exec c1 ip link show eth0
	nothing_is_left
	runc delete --force c1
	runc delete --force c2
}

by_hook() {
	step "The same by an OCI hook" "No script: runc itself calls swiftctl when a container is created and when it has stopped."
	make_bundle c3
	make_bundle c4
	add_hooks c3
	add_hooks c4
	show jq -c .hooks.createRuntime "$WORK/c3/config.json"
	show start c3
	show start c4
	show runc exec c3 ip address show eth0
	check "two leases" holds_leases 2
	check "two ports" holds_ports 2

	step "They talk" "And the hook has written /etc/resolv.conf from the configuration: names work too."
	check "c3 reaches c4" runc exec c3 ping -c1 -W60 "$(address_of c4)"
	check "c4 reaches its gateway 172.19.1.1" runc exec c4 ping -c1 -W60 172.19.1.1
	check "c4 reaches the outside 192.0.2.1" runc exec c4 ping -c1 -W60 192.0.2.1
	show runc exec c3 cat /etc/resolv.conf
	show runc exec c3 nslookup outside.example
	check "c3 reaches outside.example by name" runc exec c3 ping -c1 -W60 outside.example
	check "the name server 8.8.8.8 was asked by the host, 192.0.2.2" \
		eventually grep -F "query[A] outside.example from 192.0.2.2" "$WORK/names.log"

	step "The containers end" "runc calls the hook again, now without a namespace: it's gone with its processes."
	show runc delete --force c3
	show runc delete --force c4
	nothing_is_left
}

# nothing_is_left: the bridge stays for the next container; all else is gone.
nothing_is_left() {
	show ls /run/ipam-state/mynet
	check "every address has been given back" holds_leases 0
	check "no port is left on the bridge" holds_ports 0
	refused "no element is left in the ruleset" ruleset_names_a_container
}

holds_leases() { [[ $(find /run/ipam-state/mynet -name '172.19.1.*' | wc -l) == "$1" ]]; }
holds_ports() { [[ $(ip -brief link show master cnibr0 | wc -l) == "$1" ]]; }
ruleset_names_a_container() { nft list ruleset | grep -E '172\.19\.1\.[0-9]+([^0-9/]|$)'; }
address_of() { runc exec "$1" ip address show eth0 | sed -n 's/.*inet \([0-9.]*\).*/\1/p'; }

# eventually COMMAND...: what another process does needs a moment; two seconds at most.
eventually() {
	local tries=40
	while ((tries-- > 0)); do
		"$@" && return
		sleep 0.05
	done
	return 1
}

main
printf '\n%sAll of it works.%s\n' "$bold" "$plain"
