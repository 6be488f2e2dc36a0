#!/bin/bash
# Installs what the tests use of Debian, where it's missing; with the argument "worlds" also what only `make worlds` does. As root.
#
# What it leaves is packages and nothing else: their daemons are neither started now nor at the next boot, since firewalld would
# change the machine's own ruleset, and bird its routes. Another apt or dpkg that is at work is waited for, ten minutes at most.
set -eu
need=()
add() { command -v "$1" >/dev/null || need+=("$2"); }
add ip iproute2; add nft nftables; add iptables iptables; add runc runc; add busybox busybox-static; add jq jq
add strace strace; add perf linux-perf; add gcc gcc; add qemu-system-x86_64 qemu-system-x86; add cpio cpio; add depmod kmod
add firewalld firewalld; add ufw ufw; add dbus-daemon dbus-daemon; add dnsmasq dnsmasq-base; add linux.uml user-mode-linux; add iperf3 iperf3; add nsenter util-linux; add ping iputils-ping; add catatonit catatonit
add rpm rpm; add mandoc mandoc; add podman podman; add conmon conmon; add crun crun; add containerd containerd; add bird bird2; add systemd-analyze systemd
if [ "${1:-}" = worlds ]; then add etcd etcd-server; add checkpolicy checkpolicy; add openssl openssl; add debootstrap debootstrap; add dnf dnf; add createrepo_c createrepo-c; add qemu-system-aarch64 qemu-system-arm; add qemu-system-s390x qemu-system-misc; add qemu-system-ppc64 qemu-system-ppc; add qemu-system-mips64el qemu-system-mips; add qemu-s390x-static qemu-user-static; fi
[ -e /usr/lib/x86_64-linux-gnu/libc.a ] || need+=(libc6-dev)
[ ${#need[@]} = 0 ] && exit 0

# boot lists what starts something at boot.
boot() { find /etc/systemd/system /etc/systemd/user /etc/rc[2-5S].d -type l 2>/dev/null | sort; }
before=$(boot)
# podman's package brings a network for a runtime to take up, such as a kubelet's on this machine: only one that was here stays.
network=/etc/cni/net.d/87-podman-bridge.conflist
[ ! -e "$network" ] || network=
policy=/usr/sbin/policy-rc.d # 101 forbids maintainer scripts to start a service
if [ -e "$policy" ]; then policy=; else printf '#!/bin/sh\nexit 101\n' >"$policy" && chmod 755 "$policy"; fi
# An interrupted run cleans up too.
cleanup() {
	rm -f ${network:+"$network"} ${policy:+"$policy"}
	comm -13 <(echo "$before") <(boot) | xargs -r rm -f
}
trap cleanup EXIT
trap 'exit 1' INT TERM HUP

failed() {
	echo "$1" >&2
	case $1 in *[Ll]ock*) echo "internal/tool/testdeps.sh: another apt or dpkg is still at work; try again when it's done" >&2 ;; esac
	exit 1
}
export DEBIAN_FRONTEND=noninteractive
# The lists' lock is one that apt doesn't wait for by itself.
for try in {1..60}; do
	said=$(apt-get update -qq 2>&1) && break
	[[ $said == *"ould not get lock"* && $try != 60 ]] || failed "$said"
	sleep 10
done
said=$(apt-get install -y -qq --no-install-recommends -o DPkg::Lock::Timeout=600 "${need[@]}" 2>&1) || failed "$said"
