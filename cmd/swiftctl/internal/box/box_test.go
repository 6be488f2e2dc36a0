// SPDX-License-Identifier: Apache-2.0

package box

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"testing"

	"github.com/swiftcni/swiftcni/internal/offload"
	"github.com/swiftcni/swiftcni/internal/test/nstest"
	"golang.org/x/sys/unix"
)

func TestMain(m *testing.M) {
	Init()
	if Inside() {
		if err := look(); err != nil {
			fmt.Println(err)
			os.Exit(3)
		}
		os.Exit(4)
	}
	os.Exit(m.Run())
}

// look looks around in a box.
func look() error {
	dir := os.Getenv(boundVar)
	if err := private(); err != nil {
		return err
	}
	for _, name := range []string{"below", "alone"} {
		path := filepath.Join(dir, name)
		if err := errors.Join(os.Mkdir(path, 0o755), unix.Mount("tmpfs", path, "tmpfs", unix.MS_NOSUID|unix.MS_NOEXEC, "")); err != nil {
			return err
		}
	}
	if err := remount(filepath.Join(dir, "alone")); err != nil {
		return err
	}
	if _, err := Enter(map[string]string{"/bound": dir, "/file": filepath.Join(dir, "file")}); err != nil {
		return err
	}
	for _, path := range []string{"/bound/x", "/bound/file", "/bound/below/x", "/bound/alone/x", "/file"} {
		if err := os.WriteFile(path, nil, 0o600); !errors.Is(err, unix.EROFS) {
			return fmt.Errorf("%s can be written: %v", path, err)
		}
	}
	if text, err := os.ReadFile("/bound/file"); err != nil || string(text) != "text" {
		return fmt.Errorf("%q, %v", text, err)
	}
	if !offload.Reaped() {
		return errors.New("the plugins don't know the first process as one that reaps")
	}
	return nil
}

// boundVar names a directory of the machine's to the box.
const boundVar = "BOX_TEST_BOUND"

// A DEL is as fast in a box as on a host only if its plugins may leave children to the first process. Nobody in
// it writes what it has of the machine.
func TestABox(t *testing.T) {
	nstest.Full(t, "it makes namespaces")
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "file"), []byte("text"), 0o600); err != nil {
		t.Fatal(err)
	}
	t.Setenv(boundVar, dir)
	var said bytes.Buffer
	status, err := Run(t.Context(), &said, &said)
	if err != nil || status != 4 {
		t.Errorf("exit status %d, %v\n%s", status, err, &said)
	}
}
