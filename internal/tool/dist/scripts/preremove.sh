#!/bin/sh
# Before a Debian or RPM package is removed, for good or for another version. Debian's says "remove" or "upgrade", RPM's how
# many versions stay.
set -e
case ${1:-} in
remove | 0) ;;
*) exit 0 ;;
esac
command -v systemctl >/dev/null || exit 0
systemctl --no-reload disable swiftcni.socket swiftcni-dhcp.socket swiftcni-dhcp.service swiftcni-exporter.service
[ -d /run/systemd/system ] || exit 0
# Calls that the resident makes end first.
systemctl stop swiftcni.socket swiftcni.service swiftcni-dhcp.socket swiftcni-dhcp.service swiftcni-exporter.service
