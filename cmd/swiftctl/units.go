// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bytes"
	"embed"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"regexp"
)

// units are those of systemd for the resident and its exporter.
//
//go:embed units/swiftcni.service units/swiftcni.socket units/swiftcni-exporter.service
var units embed.FS

// Paths of programs in the units, where others may have to stand.
const (
	unitsProgram  = "/usr/local/bin/swiftctl"
	unitsExporter = "/usr/local/bin/swiftcni-exporter"
)

// plainPath is a path that means itself in a unit.
var plainPath = regexp.MustCompile(`^/[A-Za-z0-9/._+@:-]+$`)

// installUnits writes the units into a directory, each in one step, for a program at a path, and for
// the exporter if that is beside it. They aren't enabled.
func installUnits(dir, program string, out io.Writer) error {
	if !plainPath.MatchString(program) {
		return fmt.Errorf("a unit can't name a program whose path is %q", program)
	}
	list, err := units.ReadDir("units")
	if err != nil {
		return err
	}
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	at, err := os.Open(dir)
	if err != nil {
		return err
	}
	defer at.Close()
	exporter := filepath.Join(filepath.Dir(program), filepath.Base(unitsExporter))
	_, noExporter := os.Stat(exporter)
	for _, unit := range list {
		text, err := units.ReadFile("units/" + unit.Name())
		if err != nil {
			return err
		}
		if noExporter != nil && bytes.Contains(text, []byte(unitsExporter)) {
			continue
		}
		text = bytes.ReplaceAll(text, []byte(unitsProgram), []byte(program))
		text = bytes.ReplaceAll(text, []byte(unitsExporter), []byte(exporter))
		path := filepath.Join(dir, unit.Name())
		if old, err := os.ReadFile(path); err == nil && bytes.Equal(old, text) {
			continue
		}
		if err := replaceFile(int(at.Fd()), unit.Name(), string(text)); err != nil {
			return &os.PathError{Op: "write", Path: path, Err: err}
		}
		fmt.Fprintf(out, "%-10s %s\n", "installed", path)
	}
	return nil
}
