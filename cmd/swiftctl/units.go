// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bytes"
	"embed"
	"errors"
	"fmt"
	"io/fs"
	"iter"
	"os"
	"path/filepath"
	"regexp"
)

// units are those of systemd for the resident, its exporter and the daemon of dhcp.
//
//go:embed units/swiftcni.service units/swiftcni.socket units/swiftcni-exporter.service units/swiftcni-dhcp.service units/swiftcni-dhcp.socket
var units embed.FS

// Paths of programs in the units, where others may have to stand.
const (
	unitsProgram  = "/usr/local/bin/swiftctl"
	unitsExporter = "/usr/local/bin/swiftcni-exporter"
)

// plainPath is a path that means itself in a unit.
var plainPath = regexp.MustCompile(`^/[A-Za-z0-9/._+@:-]+$`)

// putUnits writes the units into a directory, each in one step, for a program at a path, and for the
// exporter if that is beside it. They aren't enabled.
func (in *installer) putUnits(dir, program string) error {
	list, err := unitTexts(program)
	if err != nil {
		return err
	}
	if !in.dry {
		if err := os.MkdirAll(dir, 0o755); err != nil {
			return err
		}
	}
	for name, text := range list {
		path := filepath.Join(dir, name)
		if old, err := os.ReadFile(path); err == nil && string(old) == text {
			continue
		}
		if !in.dry {
			if err := writeUnit(dir, name, text); err != nil {
				return &os.PathError{Op: "write", Path: path, Err: err}
			}
		}
		fmt.Fprintf(in.out, "%-10s %s\n", "installed", path)
	}
	return nil
}

func writeUnit(dir, name, text string) error {
	at, err := os.Open(dir)
	if err != nil {
		return err
	}
	defer at.Close()
	return replaceFile(int(at.Fd()), name, text)
}

// removeUnits removes those that putUnits wrote for the program. Others, and changed ones, stay.
func (in *installer) removeUnits(dir, program string) error {
	list, err := unitTexts(program)
	if err != nil {
		return err
	}
	for name, text := range list {
		path := filepath.Join(dir, name)
		old, err := os.ReadFile(path)
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err != nil {
			return err
		}
		if string(old) != text {
			fmt.Fprintf(in.out, "%-10s %s\n", "left", path)
			continue
		}
		if !in.dry {
			if err := os.Remove(path); err != nil {
				return err
			}
		}
		fmt.Fprintf(in.out, "%-10s %s\n", "removed", path)
	}
	return nil
}

// unitTexts are the units by name, in order, for a program at a path.
func unitTexts(program string) (iter.Seq2[string, string], error) {
	if !plainPath.MatchString(program) {
		return nil, fmt.Errorf("a unit can't name a program whose path is %q", program)
	}
	list, err := units.ReadDir("units")
	if err != nil {
		return nil, err
	}
	exporter := filepath.Join(filepath.Dir(program), filepath.Base(unitsExporter))
	_, noExporter := os.Stat(exporter)
	return func(yield func(name, text string) bool) {
		for _, unit := range list {
			text, _ := units.ReadFile("units/" + unit.Name()) // of an embedded file
			if noExporter != nil && bytes.Contains(text, []byte(unitsExporter)) {
				continue
			}
			text = bytes.ReplaceAll(text, []byte(unitsProgram), []byte(program))
			text = bytes.ReplaceAll(text, []byte(unitsExporter), []byte(exporter))
			if !yield(unit.Name(), string(text)) {
				return
			}
		}
	}, nil
}
