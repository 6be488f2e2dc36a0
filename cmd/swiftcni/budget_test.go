// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/swiftcni/swiftcni/internal/test/nstest"
)

// Budgets of an ADD with masquerade and host-local where bridge, rules and leases are there
// already. They are counts, which no load on the machine changes.
const (
	budgetSyscalls = 70      // beyond those of an empty Go program
	budgetSends    = 4       // netlink datagrams
	budgetReceives = 5       // one of them says that the bridge has its gateway address
	budgetThreads  = 1       // beyond those of an empty Go program
	budgetBytes    = 5 << 20 // of the binary, with every plugin
)

// scheduling are the calls that the Go scheduler makes more or less of as the machine's load has
// it.
var scheduling = []string{"futex", "nanosleep", "sched_yield", "madvise", "clone", "rt_sigreturn", "tgkill", "getpid", "epoll_pwait", "sched_getaffinity",
	// each thread sets itself up by these, and threads have a budget of their own
	"gettid", "sigaltstack", "rt_sigprocmask", "mmap", "munmap"}

const budgetConf = `{ "cniVersion": "1.0.0", "name": "budget", "type": "bridge", "bridge": "budget0", "isGateway": true, "ipMasq": true,
  "ipam": { "type": "host-local", "subnet": "172.19.1.0/24", "routes": [ { "dst": "0.0.0.0/0" } ], "dataDir": "DIR" } }`

func TestAddBudget(t *testing.T) {
	dir := t.TempDir()
	buildRelease(t, filepath.Join(dir, "bridge"))
	empty := filepath.Join(dir, "empty.go")
	if err := os.WriteFile(empty, []byte("package main\n\nfunc main() {}\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	buildGo(t, filepath.Join(dir, "empty"), empty)

	host := nstest.New(t, "budget")
	nstest.Run(t, host, "ip", "link", "set", "lo", "up")
	conf := strings.ReplaceAll(budgetConf, "DIR", filepath.Join(dir, "leases"))
	add := func(id string, traced ...string) []byte {
		cmd := nstest.Command(host, "env", append(append([]string{"CNI_COMMAND=ADD", "CNI_CONTAINERID=" + id, "CNI_IFNAME=eth0",
			"CNI_PATH=" + dir, "CNI_NETNS=" + nstest.New(t, id)}, traced...), filepath.Join(dir, "bridge"))...)
		cmd.Stdin = strings.NewReader(conf)
		out, err := cmd.CombinedOutput()
		if err != nil {
			t.Fatalf("ADD: %v\n%s", err, out)
		}
		return out
	}
	add("first")
	trace := filepath.Join(dir, "trace")
	add("second", "strace", "-f", "-o", trace)
	ours := tracedCalls(t, trace)
	if out, err := exec.Command("strace", "-f", "-o", trace, filepath.Join(dir, "empty")).CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	base := tracedCalls(t, trace)

	beyond := 0
	var list []string
	for name, n := range ours {
		if more := n - base[name]; more != 0 && !slices.Contains(scheduling, name) {
			beyond += more
			list = append(list, fmt.Sprintf("%s %+d", name, more))
		}
	}
	slices.Sort(list)
	t.Logf("%d system calls beyond an empty program's: %s", beyond, strings.Join(list, ", "))
	check := func(what string, got, budget int) {
		t.Helper()
		if got > budget {
			t.Errorf("%s: %d, budget %d", what, got, budget)
		}
	}
	check("system calls beyond an empty Go program", beyond, budgetSyscalls)
	check("netlink sends", ours["sendmsg"]+ours["sendto"], budgetSends)
	check("netlink receives", ours["recvfrom"]+ours["recvmsg"], budgetReceives)
	check("threads beyond an empty Go program", ours["clone"]+ours["clone3"]-base["clone"]-base["clone3"], budgetThreads+1)
	check("programs executed", ours["execve"]-1, 0)
	for _, never := range []string{"poll", "ppoll", "select", "pselect6", "epoll_create1", "fork", "vfork"} {
		check(never, ours[never], 0)
	}
}

var callLine = regexp.MustCompile(`(?m)^\d+ +([a-z0-9_]+)\(`)

// tracedCalls counts the system calls of a trace by name.
func tracedCalls(t *testing.T, trace string) map[string]int {
	t.Helper()
	text, err := os.ReadFile(trace)
	if err != nil {
		t.Fatal(err)
	}
	n := map[string]int{}
	for _, m := range callLine.FindAllSubmatch(text, -1) {
		n[string(m[1])]++
	}
	return n
}

func TestBinarySize(t *testing.T) {
	path := filepath.Join(t.TempDir(), "swiftcni")
	buildRelease(t, path)
	st, err := os.Stat(path)
	if err != nil {
		t.Fatal(err)
	}
	t.Logf("%d bytes", st.Size())
	if st.Size() > budgetBytes {
		t.Errorf("%d bytes, budget %d", st.Size(), budgetBytes)
	}
}

// The plugin links these modules and these packages of the standard library, and no others: each
// costs start-up.
func TestImports(t *testing.T) {
	out, err := exec.Command("go", "list", "-deps", "-f", "{{if .Module}}{{.Module.Path}}{{else}}{{.ImportPath}}{{end}}", ".").Output()
	if err != nil {
		t.Fatal(err)
	}
	modules := []string{"github.com/swiftcni/swiftcni",
		"github.com/google/nftables", "github.com/mdlayher/netlink", "github.com/mdlayher/socket", "golang.org/x/net", "golang.org/x/sync", "golang.org/x/sys"}
	forbidden := []string{"os/exec", "net/http", "regexp", "text/template", "html/template", "crypto/tls", "testing", "flag", "encoding/xml", "go/build"}
	for line := range bytes.Lines(out) {
		name := strings.TrimSpace(string(line))
		host, _, _ := strings.Cut(name, "/") // the standard library's have no dot there
		if strings.Contains(host, ".") && !slices.Contains(modules, name) {
			t.Errorf("links module %s", name)
		}
		if slices.Contains(forbidden, name) {
			t.Errorf("links package %s", name)
		}
	}
}

// buildRelease builds swiftcni as it is released, or takes the binary that otherVar names.
func buildRelease(t *testing.T, to string) {
	t.Helper()
	if err := buildOurs(to); err != nil {
		t.Fatal(err)
	}
}

func buildGo(t *testing.T, to, pkg string) {
	t.Helper()
	cmd := exec.Command("go", "build", "-trimpath", "-ldflags", "-s -w", "-o", to, pkg)
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("build: %v\n%s", err, out)
	}
}
