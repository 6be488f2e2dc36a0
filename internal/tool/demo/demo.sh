#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
#
# Shows swiftcni at work: two runc containers attached by the classic script, then two by an OCI hook, each
# time with pings, masquerade, and a look at what is left. Run it as root on Debian 12: "make demo".
#
# Everything happens in a "host in a box": network, mount, PID, UTS and IPC namespaces of its own, with its
# own /run and /var/lib. When the box's first process ends, however it ends, the kernel ends all others
# in it, and with them go the namespaces, links, rules and mounts.
#
# Environment:
#   BIN       directory of the built swiftcni and swiftctl (default: bin of the repository)
#   CNI_PATH  directory of the plugins to show (default: links to $BIN/swiftcni)
#   SWIFTCTL  the program that the hook calls (default: $BIN/swiftctl)
set -euo pipefail

HERE=$(dirname "$(readlink -f "$0")")
BIN=$(readlink -m "${BIN:-$HERE/../../../bin}")
CGROUP=swiftcni-demo-$$
WORK='' box=''

main() {
	[[ $EUID == 0 ]] || { echo "demo.sh: run it as root: runc and the namespaces need it" >&2; exit 1; }
	export PATH=$PATH:/usr/local/sbin:/usr/sbin:/sbin
	install_what_is_missing
	trap clean_up EXIT
	trap 'exit 130' INT
	trap 'exit 143' TERM HUP
	WORK=$(mktemp -d)
	gather_plugins
	run_in_box
}

# install_what_is_missing asks Debian for the programs that the steps use, if they aren't there.
install_what_is_missing() {
	local missing=() program package
	while read -r program package; do
		command -v "$program" > /dev/null || missing+=("$package")
	done <<-END
		runc runc
		/bin/busybox busybox-static
		ip iproute2
		nft nftables
		jq jq
		dnsmasq dnsmasq-base
		unshare util-linux
	END
	[[ ${#missing[@]} == 0 ]] && return
	echo "Installing ${missing[*]}"
	export DEBIAN_FRONTEND=noninteractive
	{ apt-get update -qq && apt-get install -qq --no-install-recommends -o DPkg::Lock::Timeout=120 "${missing[@]}"; } < /dev/null > /dev/null
}

# gather_plugins makes the plugin directory: every plugin is the one binary under another name.
gather_plugins() {
	export HERE WORK CGROUP SWIFTCTL=${SWIFTCTL:-$BIN/swiftctl}
	if [[ -z ${CNI_PATH:-} ]]; then
		CNI_PATH=$WORK/plugins
		mkdir "$CNI_PATH"
		ln -s "$BIN/swiftcni" "$CNI_PATH/bridge"
		ln -s "$BIN/swiftcni" "$CNI_PATH/host-local"
	fi
	export CNI_PATH
	local program
	for program in "$CNI_PATH/bridge" "$SWIFTCTL"; do
		[[ -x $program ]] || { echo "demo.sh: $program isn't there: run make first" >&2; exit 1; }
	done
}

# run_in_box runs the steps in the background, so that a signal is acted upon at once and not when they end.
run_in_box() {
	setpriv --pdeathsig KILL unshare --net --mount --pid --uts --ipc --fork --kill-child --mount-proc \
		bash "$HERE/steps.sh" &
	box=$!
	wait "$box"
}

# clean_up ends the box, if it still runs, and removes what doesn't belong to a namespace: the cgroups that
# runc made, and the files. The box is gone for good when unshare, which waits for its first process, ends.
clean_up() {
	local first group
	if [[ -n $box ]] && kill -0 "$box" 2> /dev/null; then
		first=$(cat "/proc/$box/task/$box/children" 2> /dev/null || true)
		# shellcheck disable=SC2086 # one number or none
		kill -KILL ${first:-$box} 2> /dev/null || true
		wait "$box" 2> /dev/null || true
	fi
	for group in /sys/fs/cgroup/"$CGROUP" /sys/fs/cgroup/*/"$CGROUP"; do
		[[ ! -d $group ]] || find "$group" -depth -type d -exec rmdir {} +
	done
	[[ -z $WORK ]] || rm -rf "$WORK"
}

main
