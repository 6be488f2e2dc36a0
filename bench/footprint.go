// SPDX-License-Identifier: Apache-2.0

package main

import (
	"debug/elf"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"
)

// Footprint is the size of a contestant's program on disk, by its parts.
type Footprint struct {
	Contestant, Program       string
	File                      int64 // bytes
	Text, ReadOnly, Functions int64 // code; constants and types; Go's table of functions and lines
	// Data and Zero are variables with and without a value. The latter aren't in the file.
	Data, Zero int64
}

// footprint reads a program's section headers (elf(5)).
func footprint(contestant, program string) (Footprint, error) {
	f := Footprint{Contestant: contestant, Program: program}
	info, err := os.Stat(program)
	if err != nil {
		return f, err
	}
	f.File = info.Size()
	file, err := elf.Open(program)
	if errors.As(err, new(*elf.FormatError)) || errors.Is(err, io.EOF) {
		return f, nil // a script has only its length
	}
	if err != nil {
		return f, fmt.Errorf("%s: %w", program, err)
	}
	defer file.Close()
	for _, s := range file.Sections {
		size := int64(s.Size)
		switch {
		case s.Flags&elf.SHF_ALLOC == 0: // the loader ignores it
		case s.Flags&elf.SHF_EXECINSTR != 0:
			f.Text += size
		case strings.Contains(s.Name, "pclntab"):
			f.Functions += size
		case s.Type == elf.SHT_NOBITS && s.Flags&elf.SHF_TLS == 0:
			f.Zero += size
		case s.Flags&elf.SHF_WRITE != 0:
			f.Data += size
		default:
			f.ReadOnly += size
		}
	}
	return f, nil
}

// footprints adds those of all contestants' programs. Several contestants may be one program.
func (r *Report) footprints(contestants []Contestant) error {
	for _, c := range contestants {
		if slices.ContainsFunc(r.Footprints, func(f Footprint) bool { return f.Program == c.Plugin }) {
			continue
		}
		f, err := footprint(c.Name, c.Plugin)
		if err != nil {
			return err
		}
		r.Footprints = append(r.Footprints, f)
	}
	return nil
}

func (r *Report) footprintTable() table {
	t := table{head: []string{"KiB", "file", "code", "constants, types", "functions' table", "variables", "zeroed variables"}}
	for _, f := range r.Footprints {
		t.add(f.Contestant, f.File>>10, f.Text>>10, f.ReadOnly>>10, f.Functions>>10, f.Data>>10, f.Zero>>10)
	}
	return t
}
