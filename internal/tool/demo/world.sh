# SPDX-License-Identifier: Apache-2.0
# shellcheck shell=bash disable=SC2016 # jq's variables aren't the shell's
#
# What the demonstration stands on: a host in a box, an outside, and containers. All of it runs in the
# namespaces that demo.sh made, and ends with them.

# furnish_box gives the box its own /sys, /run and /var/lib. runc finds the cgroups below /sys/fs/cgroup, so
# these are carried over to the new /sys.
furnish_box() {
	mkdir "$WORK/cgroup"
	mount --rbind /sys/fs/cgroup "$WORK/cgroup"
	mount -t sysfs sysfs /sys
	mount --rbind "$WORK/cgroup" /sys/fs/cgroup
	umount --lazy "$WORK/cgroup"
	mount -t tmpfs run /run
	mount -t tmpfs lib /var/lib
	hostname box
	ip link set lo up
}

# build_outside makes a router in another namespace. It's what the box sees of the world: 192.0.2.1, and
# 8.8.8.8 where a name server listens. It knows no route to the containers.
build_outside() {
	ip netns add outside
	ip link add uplink type veth peer name lan netns outside
	ip address add 192.0.2.2/24 dev uplink
	ip link set uplink up
	outside ip link set lo up
	outside ip address add 8.8.8.8/32 dev lo
	outside ip address add 192.0.2.1/24 dev lan
	outside ip link set lan up
	ip route add default via 192.0.2.1
	serve_names
	serve_pages
}

outside() { ip netns exec outside "$@"; }

# serve_names answers outside.example with 192.0.2.1, and logs who asked.
serve_names() {
	outside dnsmasq --keep-in-foreground --conf-file=/dev/null --no-resolv --no-hosts --pid-file= --user=root \
		--bind-interfaces --listen-address=192.0.2.1,8.8.8.8 --local=/example/ --host-record=outside.example,192.0.2.1 \
		--log-queries --log-facility="$WORK/names.log" &
}

# serve_pages answers HTTP on 192.0.2.1, and logs who asked.
serve_pages() {
	mkdir -p "$WORK/pages"
	echo "a page from the outside" > "$WORK/pages/index.html"
	outside busybox httpd -f -vv -p 192.0.2.1:80 -h "$WORK/pages" 2> "$WORK/pages.log" &
}

# both_serve says whether the outside's two servers listen.
both_serve() {
	[[ -n $(outside ss -Hln 'sport = :53' src 8.8.8.8) && -n $(outside ss -Hltn 'sport = :80') ]]
}

# make_bundle NAME: a container's directory, as runc wants it: a root file system with nothing but busybox,
# and a config.json. The default one gives the container a network namespace of its own, which is empty.
make_bundle() {
	local root=$WORK/$1/rootfs tool
	mkdir -p "$root"/{bin,proc,sys,dev,etc,tmp}
	cp /bin/busybox "$root/bin/"
	for tool in sh sleep ping ip cat nc nslookup; do
		ln -s busybox "$root/bin/$tool"
	done
	runc spec --bundle "$WORK/$1"
	change_config "$1" --arg cgroup "/$CGROUP/$1" '
		.hostname = $name | .linux.cgroupsPath = $cgroup
		| .process.terminal = false | .process.args = ["sleep", "1d"]
		| .process.capabilities |= map_values(. + ["CAP_NET_RAW"])'
}

# add_hooks NAME: runc shall call "swiftctl hook" when the container has been created, and when it has stopped.
add_hooks() {
	change_config "$1" --arg swiftctl "$SWIFTCTL" --arg network "$HERE/mynet.conf" '
		{path: $swiftctl, args: ["swiftctl", "hook", $network], timeout: 10} as $hook
		| .hooks = {createRuntime: [$hook], poststop: [$hook]}'
}

# change_config NAME JQ-ARGUMENTS...: change a container's config.json.
change_config() {
	local config=$WORK/$1/config.json
	jq --arg name "$1" "${@:2}" "$config" > "$config.new"
	mv "$config.new" "$config"
}

# start NAME. A detached container keeps its caller's streams, so it's given a file.
start() {
	runc run --detach --bundle "$WORK/$1" "$1" < /dev/null > "$WORK/$1.log" 2>&1 || {
		cat "$WORK/$1.log"
		return 1
	}
}
