// SPDX-License-Identifier: Apache-2.0

package main

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// A start that reads the mount table grows with the host's mounts, and a limit of open files that
// isn't the caller's would be handed on to an IPAM plugin.
func TestStartLeavesMountsAlone(t *testing.T) {
	dir := t.TempDir()
	buildRelease(t, filepath.Join(dir, "bridge"))
	program, conf := filepath.Join(dir, "limits"), `{"cniVersion":"1.0.0","name":"n","type":"bridge","ipam":{"type":"limits"}}`
	if err := os.WriteFile(program, []byte("#!/bin/sh\n(ulimit -Sn; ulimit -Hn) >$0.said\n"), 0o755); err != nil {
		t.Fatal(err)
	}
	for _, limits := range []string{"128:4096", "4096:4096", "20:20"} {
		trace := filepath.Join(dir, "trace")
		cmd := exec.Command("prlimit", "--nofile="+limits, "strace", "-f", "-o", trace, filepath.Join(dir, "bridge"))
		cmd.Env = append(os.Environ(), "CNI_COMMAND=DEL", "CNI_CONTAINERID=c", "CNI_IFNAME=eth0", "CNI_PATH="+dir)
		cmd.Stdin = strings.NewReader(conf)
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Fatalf("DEL: %v\n%s", err, out)
		}
		said, err := os.ReadFile(program + ".said")
		if want := strings.ReplaceAll(limits, ":", "\n") + "\n"; err != nil || string(said) != want {
			t.Errorf("an IPAM plugin under limits %s has %q (%v), want %q", limits, said, err, want)
		}
		calls, err := os.ReadFile(trace)
		if err != nil {
			t.Fatal(err)
		}
		if strings.Contains(string(calls), "mountinfo") {
			t.Errorf("under limits %s the mount table was read", limits)
		}
	}
}
