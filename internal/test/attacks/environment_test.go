// SPDX-License-Identifier: Apache-2.0

package attacks

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"github.com/swiftcni/swiftcni/internal/test/nstest"
)

// environmentAttacks are by whoever may set variables or choose a plugin's name, but not more.
func environmentAttacks() []attack {
	var many []string
	for i := range 20_000 {
		many = append(many, fmt.Sprintf("JUNK_%d=%s", i, strings.Repeat("x", 40)))
	}
	harmless := func(env ...string) func(*host) { return func(h *host) { environment(h, env, 0, "") } }
	refused := func(code int, says string, env ...string) func(*host) {
		return func(h *host) { environment(h, env, code, says) }
	}
	return []attack{
		{"environment/loader", harmless("LD_PRELOAD=/nowhere/evil.so", "LD_LIBRARY_PATH=/nowhere", "LD_AUDIT=/nowhere/evil.so", "GCONV_PATH=/nowhere")},
		{"environment/runtime", harmless("GODEBUG=inittrace=0,netdns=cgo,asyncpreemptoff=1,junk=7", "GOGC=1", "GOMEMLIMIT=1", "GOMAXPROCS=1",
			"GOTRACEBACK=crash", "GOCOVERDIR=/nowhere")},
		{"environment/shell", harmless("PATH=", "HOME=/nowhere", "IFS=/", "TMPDIR=/nowhere", "SHELL=/nowhere", "LANG=xx", "TZ=/etc/passwd")},
		{"environment/cni_junk", harmless("CNI_JUNK=1", "CNI_DATADIR=/nowhere", "CNI_CACHE_DIR=/nowhere", "CNI_NETNS_OVERRIDE=maybe", "CNI_=x")},
		{"environment/many", harmless(many...)},
		{"environment/args_huge", harmless("CNI_ARGS=IgnoreUnknown=1;" + strings.Repeat("K=V;", 30_000) + "K=V")},
		{"environment/args_unknown", refused(4, "ARGS: unknown args", "CNI_ARGS=EVIL=../../x")},
		{"environment/args_broken", refused(4, "ARGS: invalid pair", "CNI_ARGS="+strings.Repeat("=", 100_000))},
		{"environment/args_mac", refused(7, "invalid MAC address", "CNI_ARGS=MAC=../../x")},
		{"environment/args_address", refused(4, "invalid IP", "CNI_ARGS=IP=10.99.0.2%eth0")},
		{"environment/args_anothers_address", refused(101, "10.99.0.2", "CNI_ARGS=IP=10.99.0.2")},
		{"environment/ipam_that_climbs", climbingIPAM},
		{"environment/ipam_elsewhere", ipamElsewhere},
		{"environment/own_name", ownName},
	}
}

// environment: an ADD beside a victim's attachment has no more effect than without these variables,
// or says why not.
func environment(h *host, env []string, code int, says string) {
	victim := h.attach("victim", nil)
	c := call{verb: "ADD", id: "evil", netns: nstest.New(h, "evil"), env: env}
	if strings.HasPrefix(env[0], "LD_") { // for the plugin, not for what enters the namespace
		c.env, c.wrap = nil, append([]string{"env"}, env...)
	}
	if says != "" {
		h.unchanged(func() { h.refused(c, code, says) })
	} else if a := h.must(c); !strings.Contains(a.stdout, "10.99.0.3/24") || a.stderr != "" {
		h.Errorf("ADD: %s", a)
	}
	c.verb = "DEL"
	h.must(c)
	h.nothingOf("evil")
	victim.whole()
	victim.del()
	h.empty()
}

// evilPlugin makes a directory with a program that leaves a mark when somebody runs it.
func evilPlugin(h *host, name string) (dir, mark string) {
	dir = h.TempDir()
	mark = filepath.Join(dir, "mark")
	h.check(os.Chmod(dir, 0o777), os.WriteFile(filepath.Join(dir, name), []byte("#!/bin/sh\ntouch "+mark+"\n"), 0o755))
	return dir, mark
}

// climbingIPAM: the name of an IPAM plugin is a name, and not a way to a program that CNI_PATH
// doesn't lead to.
func climbingIPAM(h *host) {
	dir, mark := evilPlugin(h, "evil")
	ns := nstest.New(h, "c")
	h.unchanged(func() {
		for _, name := range []string{"../evil", dir + "/evil", "./evil", `..\evil`, "..", ".", "evil/", "/", "\x00evil"} {
			c := call{verb: "ADD", id: "evil", netns: ns, env: []string{"CNI_PATH=" + dir + "/none:" + dir},
				conf: h.conf(map[string]any{"ipam": map[string]any{"type": name}})}
			h.refused(c, 7, "invalid plugin name|failed to find plugin")
		}
	})
	if _, err := os.Lstat(mark); err == nil {
		h.Error("the plugin was run")
	}
}

// ipamElsewhere: plugins are looked for where CNI_PATH says and nowhere else: not in PATH, not in
// the working directory, not beside the plugin.
func ipamElsewhere(h *host) {
	dir, mark := evilPlugin(h, "evil")
	conf := h.conf(map[string]any{"ipam": map[string]any{"type": "evil"}})
	ns := nstest.New(h, "c")
	for _, path := range []string{"/nowhere", ":", "::/nowhere:"} {
		h.refused(call{verb: "ADD", id: "evil", netns: ns, conf: conf, wrap: []string{"env", "-C", dir, "PATH=" + dir},
			env: []string{"CNI_PATH=" + path}}, 7, "failed to find plugin")
	}
	if _, err := os.Lstat(mark); err == nil {
		h.Error("the plugin was run")
	}
	// CNI_PATH is the caller's choice. It may lead to a directory that others may write to.
	h.run(call{verb: "ADD", id: "evil", netns: ns, conf: conf, env: []string{"CNI_PATH=" + dir}})
	if _, err := os.Lstat(mark); err != nil {
		h.Errorf("the plugin wasn't run: %v", err)
	}
	h.empty()
}

// ownName: a link of another name to the program doesn't make it another program, nor follow the
// name anywhere.
func ownName(h *host) {
	dir := h.TempDir()
	for _, name := range []string{"..evil", "bridge-", "LD_PRELOAD", "a b", "host-local.so"} {
		at := filepath.Join(dir, name)
		h.check(os.Symlink(program("swiftcni"), at))
		env := []string{"CNI_COMMAND=ADD", "CNI_CONTAINERID=c1", "CNI_NETNS=/nowhere", "CNI_IFNAME=eth0", "CNI_PATH=" + dir}
		if a := h.program(env, h.conf(map[string]any{"type": "../" + name}), at); a.status != 1 || a.code != 4 || !strings.Contains(a.msg, "isn't a plugin's name") {
			h.Errorf("as %q: %s", name, a)
		}
	}
}
