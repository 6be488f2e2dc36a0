// SPDX-License-Identifier: Apache-2.0

package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/swiftcni/swiftcni/internal/test/nstest"
)

// TestADDAfterDELLeavesTheSocketToAChild runs, below an init that reaps, an ADD right after a DEL,
// and one later. Closing a socket of nftables waits for what went shortly before, by whomever: who
// has to leaves that to a child, and nobody else starts one.
func TestADDAfterDELLeavesTheSocketToAChild(t *testing.T) {
	dir := t.TempDir()
	buildRelease(t, filepath.Join(dir, "bridge"))
	host := nstest.New(t, "succession")
	nstest.Run(t, host, "ip", "link", "set", "lo", "up")
	conf := filepath.Join(dir, "conf")
	if err := os.WriteFile(conf, []byte(strings.ReplaceAll(budgetConf, "DIR", filepath.Join(dir, "leases"))), 0o600); err != nil {
		t.Fatal(err)
	}
	const script = `set -e
call() {
	verb=$1 netns=$2; shift 2
	CNI_COMMAND=$verb CNI_CONTAINERID=${netns##*/} CNI_NETNS=$netns CNI_IFNAME=eth0 CNI_PATH=. "$@" ./bridge <conf
}
cd "$0"
waiting() { # are processes of ours that nobody waits for; DEL leaves one too
	for p in /proc/[0-9]*; do
		{ read -r name <"$p/comm" && [ "$name" = bridge ] && printf ' %s ' "${p#/proc/}"; } 2>/dev/null || :
	done
}
# A machine that's busy may not get to it in time, and not under strace.
for try in $(seq 50); do
	call ADD "$1"
	call DEL "$1"
	before=$(waiting)
	call ADD "$2"
	for child in $(waiting); do
		case "$before" in *" $child "*) ;; *) echo "$child" >soon ;; esac
	done
	call DEL "$2"
	if test -e soon; then break; fi
done
sleep 0.2
call ADD "$1" strace -f -q -e trace=clone -o later`
	nstest.Run(t, host, "unshare", "--pid", "--fork", "--kill-child", "--mount-proc", "catatonit", "--",
		"sh", "-c", script, dir, nstest.New(t, "succession1"), nstest.New(t, "succession2"))
	if _, err := os.Stat(filepath.Join(dir, "soon")); err != nil {
		t.Error("soon after a DEL, no ADD of 50 left a child")
	}
	trace, err := os.ReadFile(filepath.Join(dir, "later"))
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(trace)) {
		if strings.Contains(line, "CLONE_VM") && !strings.Contains(line, "CLONE_THREAD") && strings.Contains(line, "clone(") {
			t.Errorf("long after a DEL, ADD starts a child:\n%s", line)
		}
	}
}
