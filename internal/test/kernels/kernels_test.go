// SPDX-License-Identifier: Apache-2.0

package kernels

import (
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/swiftcni/swiftcni/internal/test/box"
)

// cache is the repository's own, which git ignores.
const cache = "../../../.cache/kernels"

func TestMain(m *testing.M) {
	box.Main()
	os.Exit(m.Run())
}

// A step is one command of a guest and what's expected of its result.
type step struct {
	name    string
	command string
	check   func(t *testing.T, r Result)
}

// silence is beyond what any single test takes in a guest on a busy machine: on a quiet one it's
// seconds. How long a guest takes in all isn't bounded, since it grows with the tests and with what
// else the machine does.
const silence = 20 * time.Minute

// boot runs the steps in one boot of the kernel and then checks each as a subtest.
func boot(t *testing.T, prepare func(cache string) (*Kernel, error), files map[string]string, steps []step) {
	t.Helper()
	kernel, err := prepare(cache)
	if err != nil {
		t.Fatal(err)
	}
	guest := Guest{Files: files, Silence: silence}
	for _, s := range steps {
		guest.Commands = append(guest.Commands, s.command)
	}
	began := time.Now()
	results, err := kernel.Run(t.Context(), guest)
	t.Logf("Linux %s: %d steps in %v", kernel.Version, len(results), time.Since(began).Round(time.Millisecond))
	if err != nil {
		t.Error(err)
	}
	for i, r := range results {
		t.Run(steps[i].name, func(t *testing.T) {
			defer func() {
				if t.Failed() {
					t.Logf("$ %s\n%s\n(exit status %d)", steps[i].command, r.Output, r.Exit)
				}
			}()
			steps[i].check(t, r)
		})
	}
}

// succeeds is the check of a command that shall end well, whatever it prints.
func succeeds(t *testing.T, r Result) {
	t.Helper()
	if r.Exit != 0 {
		t.Errorf("exit status %d", r.Exit)
	}
}

func fails(t *testing.T, r Result) {
	t.Helper()
	if r.Exit == 0 {
		t.Error("it succeeded")
	}
}

// prints checks for an exit status of 0 and exactly this output, spaces at the ends aside.
func prints(want string) func(t *testing.T, r Result) {
	return func(t *testing.T, r Result) {
		t.Helper()
		succeeds(t, r)
		if got := strings.TrimSpace(r.Output); got != want {
			t.Errorf("got %q, want %q", got, want)
		}
	}
}

// on prepares a release's kernel for an architecture, for boot.
func (r Release) on(arch Arch) func(cache string) (*Kernel, error) {
	return func(cache string) (*Kernel, error) { return r.KernelFor(arch, cache) }
}

// plugin builds swiftcni for the machine's own architecture.
func plugin(t *testing.T) map[string]string { return pluginFor(t, AMD64) }

// pluginFor builds swiftcni and returns the guest's files with it: the plugin under its names in
// /mnt/plugins, /mnt/bin/cni to call it, and the configurations in /mnt/conf.
func pluginFor(t *testing.T, arch Arch) map[string]string {
	t.Helper()
	program := filepath.Join(t.TempDir(), "swiftcni")
	goTool(t, arch, ".", "build", "-ldflags", arch.begins("handover"), "-o", program, "./cmd/swiftcni")
	return map[string]string{
		"plugins/bridge": program, "plugins/host-local": program,
		"bin/cni": "testdata/cni", "conf": "testdata/conf",
	}
}

// begins is the linker's flag for a program that begins as the release's do, on an architecture
// where it isn't as any program of Go's.
func (a Arch) begins(where string) string {
	if a.Go == "amd64" || a.Go == "arm64" {
		return "-E swiftcni_" + where
	}
	return ""
}

// goTool runs the go command in a directory of the repository, for static programs.
func goTool(t *testing.T, arch Arch, dir string, args ...string) {
	t.Helper()
	cmd := exec.Command("go", args...)
	cmd.Dir = filepath.Join("../../..", dir)
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0", "GOARCH="+arch.Go)
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%v: %v\n%s", cmd, err, out)
	}
}

// A portVLAN is a line of "bridge vlan show".
type portVLAN struct {
	VLAN    int      `json:"vlan"`
	VLANEnd int      `json:"vlanEnd"`
	Flags   []string `json:"flags"`
}

func (v portVLAN) String() string {
	text := strconv.Itoa(v.VLAN)
	if v.VLANEnd != 0 {
		text += "-" + strconv.Itoa(v.VLANEnd)
	}
	for _, flag := range v.Flags {
		text += " " + map[string]string{"PVID": "pvid", "Egress Untagged": "untagged"}[flag]
	}
	return text
}

// portVLANs is the check of the output of "vlans PORT": the port's VLANs, one string each, as "100
// pvid untagged".
func portVLANs(want ...string) func(t *testing.T, r Result) {
	return func(t *testing.T, r Result) {
		t.Helper()
		succeeds(t, r)
		var ports []struct {
			VLANs []portVLAN `json:"vlans"`
		}
		if err := json.Unmarshal([]byte(r.Output), &ports); err != nil || len(ports) != 1 {
			t.Fatalf("%d ports: %v", len(ports), err)
		}
		var got []string
		for _, v := range ports[0].VLANs {
			got = append(got, v.String())
		}
		if !slices.Equal(got, want) {
			t.Errorf("VLANs %q, want %q", got, want)
		}
	}
}
