#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
#
# Attaches a running runc container to the network of mynet.conf, or detaches it:
#
#	runc_cni.sh ADD c1
#	runc_cni.sh DEL c1
#
# This is all that a runtime does for CNI: five variables in the environment, the configuration on standard
# input, and the plugin's answer on standard output.
set -euo pipefail

here=$(dirname "$(readlink -f "$0")")
pid=$(runc state "$2" | jq .pid)

export CNI_COMMAND=$1
export CNI_CONTAINERID=$2
export CNI_NETNS=/proc/$pid/ns/net
export CNI_IFNAME=eth0
export CNI_PATH=${CNI_PATH:-/opt/cni/bin}

exec "$CNI_PATH/bridge" < "$here/mynet.conf"
