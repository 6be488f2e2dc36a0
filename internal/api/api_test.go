// SPDX-License-Identifier: Apache-2.0

// Package api holds the exported API of each public package to a list under testdata. A change of
// the API is a change of a list, and so is seen as one. After an intended change:
//
//	go test ./internal/api -update
package api

import (
	"bytes"
	"flag"
	"fmt"
	"go/ast"
	"go/build"
	"go/doc"
	"go/parser"
	"go/printer"
	"go/token"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

var update = flag.Bool("update", false, "rewrite the lists")

const root = "../.."

func TestExported(t *testing.T) {
	var lists []string
	for _, dir := range packages(t) {
		list := filepath.Join("testdata", strings.ReplaceAll(dir, "/", "_")+".txt")
		lists = append(lists, list)
		got := exported(t, dir)
		if *update {
			if err := os.WriteFile(list, []byte(got), 0o644); err != nil {
				t.Fatal(err)
			}
			continue
		}
		want, err := os.ReadFile(list)
		if err != nil {
			t.Fatal(err)
		}
		for _, line := range lacks(got, string(want)) {
			t.Errorf("%s: gone or changed: %s", dir, line)
		}
		for _, line := range lacks(string(want), got) {
			t.Errorf("%s: new: %s", dir, line)
		}
	}
	there, err := filepath.Glob("testdata/*.txt")
	if err != nil || len(lists) < 4 {
		t.Fatal(lists, err)
	}
	for _, list := range there {
		if slices.Contains(lists, list) {
			continue
		}
		if !*update {
			t.Errorf("%s is of no package", list)
		} else if err := os.Remove(list); err != nil {
			t.Error(err)
		}
	}
}

// lacks returns the lines of want that aren't in got.
func lacks(got, want string) (lines []string) {
	has := map[string]bool{}
	for line := range strings.Lines(got) {
		has[line] = true
	}
	for line := range strings.Lines(want) {
		if !has[line] {
			lines = append(lines, strings.TrimSuffix(line, "\n"))
		}
	}
	return lines
}

// packages returns the directories of the public packages, those of cni/inprocess, a module of its own, among them.
func packages(t *testing.T) (dirs []string) {
	t.Helper()
	err := filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
		if err != nil || !d.IsDir() || path == root {
			return err
		}
		switch name := d.Name(); {
		case name == "bench", name == "internal", name == "testdata", name == "shared", strings.HasPrefix(name, "."), strings.HasPrefix(name, "_"):
			return fs.SkipDir
		}
		p, err := build.ImportDir(path, 0)
		if _, none := err.(*build.NoGoError); none {
			return nil
		}
		if err == nil && p.Name != "main" && len(p.GoFiles) > 0 {
			dirs = append(dirs, strings.TrimPrefix(filepath.ToSlash(path), root+"/"))
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return dirs
}

// exported lists a package's API, a symbol, field or value a line, each with what it belongs to.
func exported(t *testing.T, dir string) string {
	t.Helper()
	path := filepath.Join(root, dir)
	p, err := build.ImportDir(path, 0)
	if err != nil {
		t.Fatal(err)
	}
	l := lister{fset: token.NewFileSet()}
	var files []*ast.File
	for _, name := range p.GoFiles {
		f, err := parser.ParseFile(l.fset, filepath.Join(path, name), nil, parser.SkipObjectResolution)
		if err != nil {
			t.Fatal(err)
		}
		files = append(files, f)
	}
	d, err := doc.NewFromFiles(l.fset, files, dir)
	if err != nil {
		t.Fatal(err)
	}
	l.values("", append(d.Consts, d.Vars...))
	l.funcs(d.Funcs)
	for _, typ := range d.Types {
		l.typ(typ)
	}
	slices.Sort(l.lines)
	return strings.Join(l.lines, "")
}

type lister struct {
	fset  *token.FileSet
	lines []string
}

func (l *lister) add(format string, args ...any) {
	l.lines = append(l.lines, fmt.Sprintf(format, args...)+"\n")
}

// text prints a part of the source on one line.
func (l *lister) text(node any) string {
	if node == nil {
		return ""
	}
	var b bytes.Buffer
	if err := printer.Fprint(&b, l.fset, node); err != nil {
		return err.Error()
	}
	return strings.Join(strings.Fields(b.String()), " ")
}

// values lists constants and variables of a type, or of none. A constant without a value of its own
// counts on from the one before.
func (l *lister) values(typ string, list []*doc.Value) {
	for _, v := range list {
		for i, s := range v.Decl.Specs {
			spec := s.(*ast.ValueSpec)
			for j, name := range spec.Names {
				if !name.IsExported() {
					continue
				}
				text := v.Decl.Tok.String() + " " + name.Name
				switch {
				case spec.Type != nil:
					text += " " + l.text(spec.Type)
				case typ != "":
					text += " " + typ
				}
				switch {
				case v.Decl.Tok == token.CONST && j < len(spec.Values):
					text += " = " + l.text(spec.Values[j])
				case v.Decl.Tok == token.CONST:
					text += fmt.Sprint(", number ", i)
				}
				l.add("%s", text)
			}
		}
	}
}

func (l *lister) funcs(list []*doc.Func) {
	for _, f := range list {
		f.Decl.Body = nil
		l.add("%s", l.text(f.Decl))
	}
}

func (l *lister) typ(t *doc.Type) {
	l.values(t.Name, append(t.Consts, t.Vars...))
	l.funcs(append(t.Funcs, t.Methods...))
	spec := t.Decl.Specs[0].(*ast.TypeSpec)
	switch body := spec.Type.(type) {
	case *ast.StructType:
		l.add("type %s struct", t.Name)
		for _, f := range body.Fields.List {
			if len(f.Names) == 0 {
				l.add("type %s struct, embedded %s", t.Name, l.text(f.Type))
			}
			for _, name := range f.Names {
				l.add("type %s struct, %s %s", t.Name, name.Name, l.text(f.Type))
			}
		}
	default:
		l.add("%s", l.text(t.Decl))
	}
}
