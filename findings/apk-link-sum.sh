#!/bin/bash
# Every symbolic link of an apk that nfpm made is one that somebody has changed, for apk audit.
#
# In the archive of an Alpine package each entry has its SHA-1 as a PAX record, APK-TOOLS.checksum.SHA1. A link's is the sum of
# where it leads, as the package has no bytes for it (abuild-tar, and apk_archive and audit in apk-tools). nfpm writes the sum of
# nothing, da39a3ee…, for each of them. apk installs such a package without a word, since nobody compares a link's sum then; it's
# in the database from then on. So `apk audit --system` calls each link changed right after the installation, forever, by
# apk-tools 2.14.10 and 3.0.6. The sums of files are right. The other formats of nfpm have no sums of links.
# Seen with nfpm 2.45.0, as goreleaser uses it; newItemInsideTarGz (apk/apk.go) is the same in 2.48.0.
set -eu
dir=$(mktemp -d); trap 'chmod -R u+w "$dir"; rm -rf "$dir"' EXIT; cd "$dir"
export GOMODCACHE=$dir/mod GOCACHE=$dir/build CGO_ENABLED=0 GOFLAGS=-mod=mod
GOBIN=$dir go install github.com/goreleaser/nfpm/v2/cmd/nfpm@v2.45.0 2>/dev/null
echo hello >tool
cat >nfpm.yaml <<'END'
name: tool
version: 1.0.0
arch: amd64
maintainer: Somebody <somebody@example.org>
description: a tool with a second name
contents:
  - {src: tool, dst: /usr/bin/tool}
  - {src: tool, dst: /usr/bin/second, type: symlink}
END
./nfpm package --config nfpm.yaml --packager apk --target tool.apk >/dev/null
# An apk is gzip members one after the other, of which the last one has the files.
records=$(gzip -dc tool.apk | grep -a -o 'APK-TOOLS.checksum.SHA1=[0-9a-f]*' | cut -d= -f2)
sum() { printf "$1" | sha1sum | cut -d' ' -f1; }
echo "nfpm 2.45.0 wrote these sums:" $records
echo "of the file: $(sum 'hello\n'), of the link's target: $(sum tool), of nothing: $(sum '')"
grep -q "$(sum 'hello\n')" <<<"$records"
grep -q "$(sum '')" <<<"$records"
! grep -q "$(sum tool)" <<<"$records"
echo "as described"
