// SPDX-License-Identifier: Apache-2.0

package ipam

import (
	"errors"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/swiftcni/swiftcni/internal/test/nstest"
	"github.com/swiftcni/swiftcni/internal/tool/build"
)

const (
	hostLocalPackage = "github.com/containernetworking/plugins/plugins/ipam/host-local@" + build.ReferenceVersion
	hostLocalVar     = "SWIFTCNI_TEST_HOST_LOCAL"
)

// TestMain builds the reference's host-local, while there's still a network, into the user's cache.
func TestMain(m *testing.M) {
	if words := strings.SplitN(os.Getenv(helperVar), " ", 4); len(words) == 4 {
		os.Exit(runHelper(words))
	}
	flag.Parse()
	if os.Getenv(hostLocalVar) == "" && !testing.Short() {
		path, err := buildHostLocal()
		if err != nil {
			fmt.Fprintln(os.Stderr, "host-local:", err)
			os.Exit(2)
		}
		os.Setenv(hostLocalVar, path)
	}
	nstest.Main(m)
}

func buildHostLocal() (string, error) {
	cache, err := os.UserCacheDir()
	if err != nil {
		return "", err
	}
	dir := filepath.Join(cache, "swiftcni", "host-local-"+build.ReferenceVersion)
	path := filepath.Join(dir, "host-local")
	if _, err := os.Stat(path); err == nil {
		return path, nil
	}
	cmd := exec.Command("go", "install", hostLocalPackage)
	cmd.Env = append(os.Environ(), "GOBIN="+dir, "GOFLAGS=")
	cmd.Dir = os.TempDir() // outside of this module
	out, err := cmd.CombinedOutput()
	if err != nil {
		return "", fmt.Errorf("%w\n%s", err, out)
	}
	return path, nil
}

// as finds the first error of type E in err's tree, as errors.AsType of Go 1.26 does.
func as[E error](err error) (found E, ok bool) {
	ok = errors.As(err, &found)
	return found, ok
}
