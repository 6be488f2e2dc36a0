// SPDX-License-Identifier: Apache-2.0

package conformance

import (
	"bytes"
	"compress/gzip"
	"context"
	"encoding/base64"
	"fmt"
	"io"
	"path/filepath"
	"strings"
	"time"

	"github.com/swiftcni/swiftcni/internal/test/kernels"
)

// guests is the release of Debian on whose kernel the suites for guests run.
const guests = kernels.Bookworm

// silence is beyond what any suite takes in a guest on a busy machine.
const silence = 25 * time.Minute

// runSuite is the guest's command that runs a suite. It prints the suite's report, which is mostly
// repetition, or what the suite printed if there is none.
const runSuite = `mkdir -p /var/run
export CONFORMANCE_PLUGIN=%[1]s CONFORMANCE_PLUGINS=/mnt/plugins PATH=/mnt/plugins:$PATH TMPDIR=/tmp
./%[1]s.test %[2]s -ginkgo.json-report=/tmp/%[1]s.json >/tmp/%[1]s.log 2>&1
[ -s /tmp/%[1]s.json ] || { tail -c 4000 /tmp/%[1]s.log; exit 1; }
gzip -c /tmp/%[1]s.json | base64`

// RunGuest runs suites that [Build] made in dir with the executables in plugins, one after the
// other on a kernel that it boots. It returns the specs by plugin, and the kernel's version. What it
// downloads is kept below cache.
func RunGuest(ctx context.Context, dir string, suites []Suite, plugins, cache string) (map[string][]Spec, string, error) {
	kernel, err := guests.Kernel(cache)
	if err != nil {
		return nil, "", err
	}
	guest := kernels.Guest{Files: map[string]string{}, Silence: silence}
	for _, name := range []string{"host-local", "static"} {
		if err := guestFile(guest.Files, plugins, name); err != nil {
			return nil, "", err
		}
	}
	for _, s := range suites {
		if err := guestFile(guest.Files, plugins, s.Plugin); err != nil {
			return nil, "", err
		}
		guest.Files[s.Plugin+".test"] = filepath.Join(dir, s.Plugin+".test")
		guest.Commands = append(guest.Commands, fmt.Sprintf(runSuite, s.Plugin, strings.Join(ginkgo, " ")))
	}
	results, err := kernel.Run(ctx, guest)
	if err != nil {
		return nil, "", err
	}
	specs := map[string][]Spec{}
	for i, r := range results {
		if r.Exit != 0 {
			return nil, "", fmt.Errorf("%s made no report:\n%s", suites[i].Plugin, r.Output)
		}
		report, err := unpack(r.Output)
		if err != nil {
			return nil, "", fmt.Errorf("report of %s: %w", suites[i].Plugin, err)
		}
		if specs[suites[i].Plugin], err = readReport(report); err != nil {
			return nil, "", fmt.Errorf("report of %s: %w", suites[i].Plugin, err)
		}
	}
	return specs, kernel.Version, nil
}

// guestFile gives the guest a plugin. Several may be one file.
func guestFile(files map[string]string, plugins, name string) error {
	file, err := filepath.EvalSymlinks(filepath.Join(plugins, name))
	files[filepath.Join("plugins", name)] = file
	return err
}

// unpack undoes gzip and base64. The console may have broken lines.
func unpack(text string) ([]byte, error) {
	packed, err := base64.StdEncoding.DecodeString(strings.Join(strings.Fields(text), ""))
	if err != nil {
		return nil, err
	}
	r, err := gzip.NewReader(bytes.NewReader(packed))
	if err != nil {
		return nil, err
	}
	return io.ReadAll(r)
}
