#!/bin/sh
# Prints the version of this tree, a semantic one: the tag of the commit, or what Go calls a commit without a tag, a
# pseudo-version, which is later than the tag before it (https://go.dev/ref/mod#pseudo-versions). "+dirty" follows if files
# differ from the commit. A source archive has its version in cni/about.go.
set -eu
cd "$(dirname "$0")/../.."
if [ ! -e .git ]; then
	version=$(sed -n 's/^const sourceVersion = "\(.*\)"$/\1/p' cni/about.go)
	echo "${version:-v0.0.0-unknown}"
	exit
fi
describe() { git describe --tags --match 'v[0-9]*.[0-9]*.[0-9]*' "$@" 2>/dev/null; }
dirty=
[ -z "$(git status --porcelain)" ] || dirty=+dirty
if tag=$(describe --exact-match); then
	echo "$tag$dirty"
	exit
fi
commit=$(TZ=UTC git log -1 --abbrev=12 --format=%cd-%h --date=format-local:%Y%m%d%H%M%S)
tag=$(describe --abbrev=0) || tag=
case $tag in
'') echo "v0.0.0-$commit$dirty" ;;
*-*) echo "$tag.0.$commit$dirty" ;;
*) echo "${tag%.*}.$((${tag##*.} + 1))-0.$commit$dirty" ;;
esac
