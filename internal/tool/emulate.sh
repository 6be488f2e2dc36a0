#!/bin/sh
# Runs a test binary of another architecture ($GOARCH) by qemu-user: `go test -exec internal/tool/emulate.sh`. It makes the
# namespaces, which qemu-user can't make with a process. Tests that need what it lacks say so by nstest.Kernel.
case $GOARCH in
arm64) cpu=aarch64 ;;
loong64) cpu=loongarch64 ;;
mips64le) cpu=mips64el ;;
*) cpu=$GOARCH ;;
esac
[ "$(id -u)" = 0 ] || user='--user --map-root-user'
exec unshare --net --mount $user env SWIFTCNI_TEST_NAMESPACE=1 SWIFTCNI_TEST_EMULATED=1 GOARCH= "qemu-$cpu-static" "$@"
