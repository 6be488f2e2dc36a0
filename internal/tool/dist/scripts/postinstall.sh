#!/bin/sh
# After a Debian or RPM package was installed or upgraded. The units aren't enabled: only what ran before runs the new version.
set -e
[ -d /run/systemd/system ] || exit 0
systemctl daemon-reload
systemctl try-restart swiftcni.service swiftcni-dhcp.service swiftcni-exporter.service
