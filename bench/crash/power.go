// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bytes"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/swiftcni/swiftcni/ipam"
	"golang.org/x/sys/unix"
)

// Damages of a power cut. Nothing is ever synced. So a file's name, and its directory's times, may
// be on disk before its content is.
const (
	damageNone  = "as written"
	damageEmpty = "files empty"
	damageTorn  = "files torn"
	// ext4 and XFS may leave zeros of blocks that were allocated and not written.
	damageZeros = "files zeroed"
	damageLast  = "last file empty"
)

func damages() []string {
	return []string{damageNone, damageEmpty, damageTorn, damageZeros, damageLast}
}

// power cuts the power right after a verb has changed a file. The host boots again with the content
// of its disk: with no links, no containers, and records of an earlier boot. Then the range must be
// as large as ever, no address may be given twice, and containers must come and go as usual.
func (t *trying) power() error {
	if err := t.begin(); err != nil {
		return err
	}
	if _, err := t.disturbed(&tracer{decide: t.here(verdict{kill: true, after: true})}); err != nil {
		return err
	}
	t.settle()
	if err := damage(t.Trial.Event); err != nil {
		return err
	}
	if err := t.reboot(); err != nil {
		return err
	}
	n, err := t.fill()
	if err != nil {
		return err
	}
	if n < t.known.size {
		t.wrong("after a reboot the range takes %d attachments, not %d", n, t.known.size)
	}
	if err := t.checkStore(); err != nil {
		return err
	}
	return t.detachOthers()
}

const bootIDFile = "/proc/sys/kernel/random/boot_id"

// reboot leaves nothing of the host but its disk.
func (t *trying) reboot() error {
	t.host.close()
	if err := empty(runDir); err != nil {
		return err
	}
	h, err := bootHost(t.plugin, t.Trial.ID, t.host.references)
	if err != nil {
		return err
	}
	t.host = h
	if err := errors.Join(h.connect(), t.reside()); err != nil {
		return err
	}
	clear(t.live)
	clear(t.result)
	t.refused = nil
	var b [16]byte
	_, _ = rand.Read(b[:])
	earlier := fmt.Sprintf("%x-%x-%x-%x-%x", b[:4], b[4:6], b[6:8], b[8:10], b[10:])
	now, err := os.ReadFile(bootIDFile)
	if err != nil {
		return err
	}
	return age(filepath.Join(t.plugin.Leases, ".swiftcni"), strings.TrimSpace(string(now)), earlier)
}

// age turns a sidecar's notes of this boot into those of an earlier one. The kernel's ID can't be
// changed, and one that is mounted over it would prove nothing.
func age(sidecar, now, earlier string) error {
	var noted []string
	err := filepath.WalkDir(sidecar, func(path string, d fs.DirEntry, err error) error {
		target, _ := os.Readlink(path)
		if err == nil && (strings.Contains(d.Name(), now) || strings.Contains(target, now)) {
			noted = append(noted, path)
		}
		return err
	})
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	for _, path := range noted {
		target, linkErr := os.Readlink(path)
		if linkErr != nil {
			err = errors.Join(err, os.Rename(path, strings.ReplaceAll(path, now, earlier)))
			continue
		}
		err = errors.Join(err, os.Remove(path), os.Symlink(strings.ReplaceAll(target, now, earlier), path))
	}
	return err
}

// checkStore asks swiftcni's store for its own faults, if there is one.
func (t *trying) checkStore() error {
	sidecar := filepath.Join(t.plugin.Leases, ".swiftcni")
	networks, err := os.ReadDir(sidecar)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	for _, network := range networks {
		store, err := ipam.OpenReadOnly(context.Background(), t.plugin.Leases, network.Name())
		if err == nil {
			err = errors.Join(store.Check(), store.Close())
		}
		if err != nil {
			t.wrong("the store: %v", err)
		}
	}
	return nil
}

// damage changes the content of the state directories, as an interrupted file system may. It
// changes only the contents of files, since nothing waited until they were written, and no
// directory.
func damage(kind string) error {
	if kind == damageNone {
		return nil
	}
	newest, last := "", int64(0)
	for _, dir := range stateDirs {
		err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
			if err != nil || !d.Type().IsRegular() {
				return err
			}
			var st unix.Stat_t
			if err := unix.Stat(path, &st); err != nil {
				return err
			}
			if at := st.Ctim.Nano(); at > last && st.Size > 0 {
				newest, last = path, at
			}
			if kind == damageLast {
				return nil
			}
			return damageFile(path, kind)
		})
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
	}
	if kind == damageLast && newest != "" {
		return os.Truncate(newest, 0)
	}
	return nil
}

func damageFile(path, kind string) error {
	text, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	switch kind {
	case damageTorn:
		text = text[:len(text)/2]
	case damageZeros:
		text = bytes.Repeat([]byte{0}, len(text))
	default:
		text = nil
	}
	return os.WriteFile(path, text, 0o644)
}
