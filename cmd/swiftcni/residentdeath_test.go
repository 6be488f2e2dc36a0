// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// A runtime that forgets a container whose DEL failed, as podman does, needs a DEL that ends well
// although the resident dies during it: the caller makes it once more. It does so with each verb
// but ADD.
func TestResidentDiesDuringACall(t *testing.T) {
	dir := t.TempDir()
	w := newWorld(t, dir)
	if err := w.netns("c1"); err != nil {
		t.Fatal(err)
	}
	// It takes its time if it's told to.
	script := fmt.Sprintf(`#!/bin/sh
case $CNI_COMMAND in
ADD) echo '{"cniVersion":"1.1.0","ips":[{"address":"10.8.1.2/24","gateway":"10.8.1.1"}]}' ;;
*) if rm %[1]s/wait; then touch %[1]s/begun; exec sleep 1000; else touch %[1]s/again; fi ;;
esac
`, dir)
	if err := os.WriteFile(filepath.Join(dir, "slow"), []byte(script), 0o755); err != nil {
		t.Fatal(err)
	}
	c := call{verb: "ADD", container: "c1", ifName: "eth0", env: map[string]string{"CNI_PATH": dir, "PATH": os.Getenv("PATH")},
		conf: []byte(`{"cniVersion":"1.1.0","name":"slow","type":"bridge","bridge":"slow0","ipam":{"type":"slow"}}`)}
	for _, test := range []struct {
		name, verb string
		code       int
		piped      bool
	}{
		{"the input in a pipe", "DEL", 0, true},
		{"the input in a file, whose position the resident has moved", "DEL", 11, false},
		{"another verb", "STATUS", 0, true},
	} {
		r := w.reside()
		c.verb = "ADD"
		if a, err := w.run(c); err != nil || a.status != 0 {
			t.Fatalf("%v %d %s", err, a.status, a.stdout)
		}
		c.verb = test.verb
		a := killedDuring(w, r, dir, c, test.piped)
		if (a.status == 0) != (test.code == 0) {
			t.Errorf("%s: exit status %d, %s", test.name, a.status, a.stdout)
		}
		if test.code == 0 && len(a.stdout) != 0 {
			t.Errorf("%s: it says %q", test.name, a.stdout)
		} else if test.code != 0 {
			if f, err := a.failure(); err != nil || f.Code != test.code {
				t.Errorf("%s: %q, %v", test.name, a.stdout, err)
			}
		}
		if _, err := os.Stat(filepath.Join(dir, "again")); (err == nil) != (test.code == 0) {
			t.Errorf("%s: the IPAM plugin's second call: %v", test.name, err)
		}
		if c.verb = "DEL"; test.verb != "DEL" || test.code != 0 {
			if a, err := w.run(c); err != nil || a.status != 0 {
				t.Fatalf("%v %d %s", err, a.status, a.stdout)
			}
		}
		if err := w.noTrace(); err != nil {
			t.Errorf("%s: %v", test.name, err)
		}
		for _, name := range []string{"begun", "again"} {
			_ = os.Remove(filepath.Join(dir, name))
		}
	}
	w.finish()
}

// killedDuring makes a call, and kills its resident once the IPAM plugin has begun, which waits.
func killedDuring(w *world, r *residing, dir string, c call, piped bool) answer {
	w.t.Helper()
	conf := filepath.Join(dir, "conf")
	for file, text := range map[string][]byte{filepath.Join(dir, "wait"): nil, conf: c.conf} {
		if err := os.WriteFile(file, text, 0o644); err != nil {
			w.t.Fatal(err)
		}
	}
	cmd := exec.Command(filepath.Join(oursDir(), "bridge"))
	var out bytes.Buffer
	cmd.Env, cmd.Stdout = c.environment(), &out
	if piped {
		cmd.Stdin = bytes.NewReader(c.conf)
	} else {
		f, err := os.Open(conf)
		if err != nil {
			w.t.Fatal(err)
		}
		defer f.Close()
		cmd.Stdin = f
	}
	if err := w.start("", cmd); err != nil {
		w.t.Fatal(err)
	}
	for deadline := time.Now().Add(time.Minute); ; time.Sleep(time.Millisecond) {
		if _, err := os.Stat(filepath.Join(dir, "begun")); err == nil {
			break
		}
		if time.Now().After(deadline) {
			w.t.Fatal("the IPAM plugin wasn't called")
		}
	}
	r.kill()
	_ = cmd.Wait()
	return answer{stdout: out.Bytes(), status: cmd.ProcessState.ExitCode()}
}

// A call that waits to be read when the resident dies hasn't begun, so its caller makes it itself.
func TestResidentDiesBeforeItReads(t *testing.T) {
	w := newWorld(t, t.TempDir())
	r := w.reside()
	if err := w.netns("c1"); err != nil {
		t.Fatal(err)
	}
	if err := r.cmd.Process.Signal(unix.SIGSTOP); err != nil {
		t.Fatal(err)
	}
	if err := unix.Waitid(unix.P_PID, r.cmd.Process.Pid, nil, unix.WSTOPPED|unix.WNOWAIT, nil); err != nil {
		t.Fatal(err)
	}
	c := bridgeCall("ADD", "c1")
	c.plugins = oursDir()
	add := exec.Command(filepath.Join(oursDir(), "bridge"))
	var out strings.Builder
	add.Env, add.Stdin, add.Stdout = c.environment(), strings.NewReader(residentConf), &out
	if err := w.start("", add); err != nil {
		t.Fatal(err)
	}
	// It has sent its message once it waits in poll(2) or ppoll(2).
	for deadline := time.Now().Add(time.Minute); ; time.Sleep(time.Millisecond) {
		call, err := os.ReadFile(fmt.Sprintf("/proc/%d/syscall", add.Process.Pid))
		if err != nil {
			t.Fatal(err)
		}
		if number, _, _ := strings.Cut(string(call), " "); number == map[string]string{"amd64": "7", "arm64": "73"}[runtime.GOARCH] {
			break
		}
		if time.Now().After(deadline) {
			t.Fatalf("the caller is at %s", call)
		}
	}
	r.kill()
	if err := add.Wait(); err != nil {
		t.Errorf("%v: %s", err, out.String())
	}
	if calls := r.said(); len(calls) != 0 {
		t.Errorf("the resident has made the calls %q", calls)
	}
	c.verb = "DEL"
	if a, err := w.run(c); err != nil || a.status != 0 {
		t.Errorf("%v %d %s", err, a.status, a.stdout)
	}
	w.stores = append(w.stores, "/run/leases")
	w.finish()
}
