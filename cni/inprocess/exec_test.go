// SPDX-License-Identifier: Apache-2.0

package inprocess

import (
	"os"
	"os/exec"
	"testing"

	"github.com/swiftcni/swiftcni/internal/test/nstest"
)

// libcni itself is used in a module of its own, below.
func TestWithLibcni(t *testing.T) {
	nstest.Full(t, "it needs modules of its own")
	cmd := exec.Command("go", "test", "-count=1", "./...")
	cmd.Dir = "libcnitest"
	cmd.Env = append(os.Environ(), "GOWORK=off")
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Errorf("%v\n%s", err, out)
	}
}

func TestLastValueCounts(t *testing.T) {
	e := environment{"CNI_PATH=/a", "CNI_PATHS=/b", "CNI_PATH=/c=d", "odd"}
	for name, want := range map[string]string{"CNI_PATH": "/c=d", "CNI_PATHS": "/b", "CNI": "", "odd": "", "no": ""} {
		if got := e.get(name); got != want {
			t.Errorf("%s is %q, want %q", name, got, want)
		}
	}
}
