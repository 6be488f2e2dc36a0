// SPDX-License-Identifier: Apache-2.0

package main

import (
	"errors"
	"os"
	"path/filepath"
	"testing"

	"golang.org/x/sys/unix"
)

// TestRootfsRacesWithContainer writes while a container that shares the root swaps etc for a link
// to a directory of the host, and resolv.conf for a link to a file there. Nothing of the host may
// change, whoever wins.
func TestRootfsRacesWithContainer(t *testing.T) {
	dir := t.TempDir()
	root, host := filepath.Join(dir, "root"), filepath.Join(dir, "host")
	etc, link := filepath.Join(root, "etc"), filepath.Join(root, "link")
	victim := filepath.Join(host, "resolv.conf")
	for _, err := range []error{
		os.MkdirAll(etc, 0o755), os.MkdirAll(host, 0o755),
		os.WriteFile(victim, []byte("the host's"), 0o644), os.Symlink(host, link),
	} {
		if err != nil {
			t.Fatal(err)
		}
	}
	stop, stopped := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(stopped)
		for {
			select {
			case <-stop:
				return
			default:
			}
			_ = unix.Renameat2(unix.AT_FDCWD, etc, unix.AT_FDCWD, link, unix.RENAME_EXCHANGE)
			_ = os.Remove(filepath.Join(etc, "resolv.conf.new"))
			if fi, err := os.Lstat(etc); err == nil && fi.IsDir() {
				_ = os.Symlink(victim, filepath.Join(etc, "resolv.conf.new"))
				_ = os.Rename(filepath.Join(etc, "resolv.conf.new"), filepath.Join(etc, "resolv.conf"))
			}
		}
	}()
	r, err := openRootfs(root)
	if err != nil {
		t.Fatal(err)
	}
	defer r.close()
	var written, refused int
	for n := 0; n < 20_000 && (written < 50 || refused < 50); n++ {
		if err := r.writeResolvConf("the container's"); err == nil {
			written++
		} else {
			refused++
		}
	}
	close(stop)
	<-stopped
	if written == 0 || refused == 0 {
		t.Errorf("written %d times, refused %d times: the two never met", written, refused)
	}
	text, err := os.ReadFile(victim)
	if err != nil || string(text) != "the host's" {
		t.Errorf("the host's file holds %q, %v", text, err)
	}
	entries, err := os.ReadDir(host)
	if err != nil || len(entries) != 1 {
		t.Errorf("the host's directory holds %v, %v", entries, err)
	}
}

// TestRootfsLeavesNothingOfAFailure: neither a directory that it made, nor a half of a file.
func TestRootfsLeavesNothingOfAFailure(t *testing.T) {
	dir := t.TempDir()
	if err := unix.Mount("tmpfs", dir, "tmpfs", 0, "size=4k"); err != nil {
		t.Fatal(err)
	}
	defer unix.Unmount(dir, unix.MNT_DETACH)
	if err := os.WriteFile(filepath.Join(dir, "full"), make([]byte, 4096), 0o644); err != nil {
		t.Fatal(err)
	}
	r, err := openRootfs(dir)
	if err != nil {
		t.Fatal(err)
	}
	defer r.close()
	if err := r.writeResolvConf("nameserver 192.0.2.1\n"); !errors.Is(err, unix.ENOSPC) {
		t.Errorf("a full file system: %v", err)
	}
	entries, err := os.ReadDir(dir)
	if err != nil || len(entries) != 1 || entries[0].Name() != "full" {
		t.Errorf("left: %v, %v", entries, err)
	}
}

func TestRootfsOfAnotherKind(t *testing.T) {
	file := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(file, nil, 0o644); err != nil {
		t.Fatal(err)
	}
	if _, err := openRootfs(file); !errors.Is(err, unix.ENOTDIR) {
		t.Errorf("a file as root: %v", err)
	}
}
