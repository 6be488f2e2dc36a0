#!/bin/sh
# After a Debian or RPM package was removed. Leases and rules stay: they are those of containers that run.
set -e
case ${1:-} in
remove | purge | 0) ;;
*) exit 0 ;;
esac
rm -rf /run/swiftcni
[ ! -d /run/systemd/system ] || systemctl daemon-reload
