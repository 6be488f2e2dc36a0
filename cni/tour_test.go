// SPDX-License-Identifier: Apache-2.0

package cni

import (
	"go/ast"
	"go/parser"
	"go/token"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// The tour in docs must read like the code: every name in it exists, every file too.
func TestTourIsTrue(t *testing.T) {
	text, err := os.ReadFile("../docs/tour.md")
	if err != nil {
		t.Fatal(err)
	}
	names := map[string]bool{}
	rooms, err := filepath.Glob("../internal/*/*.go")
	if err != nil {
		t.Fatal(err)
	}
	dirs := []string{"../cni", "../cni/spec", "../rtnl", "../nft", "../ipam"}
	for _, file := range rooms {
		dirs = append(dirs, filepath.Dir(file))
	}
	for _, dir := range slices.Compact(dirs) {
		declared(t, dir, names)
	}
	checked := 0
	for _, m := range regexp.MustCompile("`([a-z]+[./][A-Za-z0-9_./]+)`").FindAllStringSubmatch(string(text), -1) {
		checked++
		if strings.Contains(m[1], "/") {
			if _, err := os.Stat("../" + m[1]); err != nil {
				t.Errorf("no file %s", m[1])
			}
		} else if !names[m[1]] {
			t.Errorf("no %s in the code", m[1])
		}
	}
	if checked < 30 {
		t.Errorf("only %d names found in the tour", checked)
	}
}

// declared adds what the package in a directory declares: pkg.Name, and pkg.Type.Method.
func declared(t *testing.T, dir string, names map[string]bool) {
	t.Helper()
	pkg := filepath.Base(dir)
	files, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range files {
		if !strings.HasSuffix(f.Name(), ".go") || strings.HasSuffix(f.Name(), "_test.go") {
			continue
		}
		file, err := parser.ParseFile(token.NewFileSet(), filepath.Join(dir, f.Name()), nil, 0)
		if err != nil {
			t.Fatal(err)
		}
		for _, d := range file.Decls {
			switch d := d.(type) {
			case *ast.FuncDecl:
				name := d.Name.Name
				if d.Recv != nil {
					typ := d.Recv.List[0].Type
					if star, ok := typ.(*ast.StarExpr); ok {
						typ = star.X
					}
					name = typ.(*ast.Ident).Name + "." + name
				}
				names[pkg+"."+name] = true
			case *ast.GenDecl:
				for _, s := range d.Specs {
					if s, ok := s.(*ast.TypeSpec); ok {
						names[pkg+"."+s.Name.Name] = true
					}
				}
			}
		}
	}
}
