// SPDX-License-Identifier: Apache-2.0

package main

import (
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// zeros never end.
type zeros struct{}

func (zeros) Read(p []byte) (int, error) { clear(p); return len(p), nil }

func TestInputIsBounded(t *testing.T) {
	if _, err := readState(zeros{}); err == nil || !strings.Contains(err.Error(), "larger than 4 MiB") {
		t.Errorf("an endless state: %v", err)
	}
	if _, err := readConf("-", zeros{}, false); err == nil || !strings.Contains(err.Error(), "larger than 16 MiB") {
		t.Errorf("an endless configuration: %v", err)
	}
	text, err := readBounded(io.LimitReader(zeros{}, 1<<20), "zeros", 1<<20)
	if err != nil || len(text) != 1<<20 {
		t.Errorf("as much as is allowed: %d bytes, %v", len(text), err)
	}
}

func TestHookLogFollowsNoLink(t *testing.T) {
	dir := t.TempDir()
	victim, link := filepath.Join(dir, "victim"), filepath.Join(dir, "link")
	if err := os.Symlink(victim, link); err != nil {
		t.Fatal(err)
	}
	if log, err := openLog(link); err == nil {
		log.close()
		t.Error("the link was opened")
	}
	if _, err := os.Lstat(victim); err == nil {
		t.Error("the link's target was made")
	}
}
