// SPDX-License-Identifier: Apache-2.0

package caller

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"testing"

	"golang.org/x/sys/unix"
)

// A program that doesn't end is ended with the context, and the error says why.
func TestExecuteEnds(t *testing.T) {
	dir := t.TempDir()
	fifo, program := filepath.Join(dir, "fifo"), filepath.Join(dir, "program")
	text := "#!/bin/sh\necho begun >" + fifo + "\nexec sleep 1d\n"
	if err := errors.Join(unix.Mkfifo(fifo, 0o600), os.WriteFile(program, []byte(text), 0o700)); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancelCause(t.Context())
	why := errors.New("enough")
	go func() {
		_, _ = os.ReadFile(fifo) // until it has begun
		cancel(why)
	}()
	if _, _, err := Execute(ctx, program, []string{"PATH=" + os.Getenv("PATH")}, nil); !errors.Is(err, why) {
		t.Error(err)
	}
}
