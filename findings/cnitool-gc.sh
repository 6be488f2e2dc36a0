#!/bin/bash
# `cnitool gc NETWORK NETNS` detaches every container of the network, that of NETNS too, and answers 0.
#
# GC gets the attachments that are still valid and ends all others. cnitool wants a namespace, as for its other verbs, yet names
# no attachment as valid. libcni then sends a DEL for each one in its cache before any plugin hears of GC: running
# containers lose their link and their address.
# Seen with cnitool v1.3.0 and the plugins v1.10.0; a caller of libcni's GCNetworkList must list what lives.
set -eu
dir=$(mktemp -d); trap 'chmod -R u+w "$dir"; rm -rf "$dir"' EXIT; cd "$dir"
export GOBIN=$dir/bin CGO_ENABLED=0 GOFLAGS=-modcacherw
go install github.com/containernetworking/cni/cnitool@v1.3.0
go install github.com/containernetworking/plugins/plugins/{main/bridge,ipam/host-local}@v1.10.0
go version -m bin/cnitool bin/bridge | awk '$1 == "mod" {print $2, $3}'
mkdir net.d leases
cat >net.d/net.conflist <<CONF
{ "cniVersion": "1.1.0", "name": "net", "plugins": [ { "type": "bridge", "bridge": "cni0",
  "ipam": { "type": "host-local", "subnet": "192.0.2.0/24", "dataDir": "$dir/leases" } } ] }
CONF
export NETCONFPATH=$dir/net.d CNI_PATH=$dir/bin
unshare -n -m bash -eu <<'BOX'
mount -t tmpfs run /run; mkdir /run/netns; mkdir -p /var/lib/cni; mount -t tmpfs cache /var/lib/cni
for n in one two; do ip netns add $n; done
attach() { bin/cnitool add net /run/netns/$1 | sed -n 's/.*"address": "\(.*\)".*/\1/p'; }
one=$(attach one); two=$(attach two); echo "one has $one, two has $two"
ip -n one link show eth0 >/dev/null
bin/cnitool gc net /run/netns/one; echo "gc with one's namespace: status $?"
for n in one two; do
  if ip -n $n link show eth0 >/dev/null 2>&1; then echo "$n still has its link"; exit 1; fi
done
[ -z "$(ls leases/net | grep '^[0-9]')" ]; echo "neither has a link or a lease any more"
BOX
echo "as described"
