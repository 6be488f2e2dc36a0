// SPDX-License-Identifier: Apache-2.0

package attacks

import (
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// An attack is one row of docs/security.md.
type attack struct {
	name string
	run  func(*host)
}

// attacks lists them by what they go through.
func attacks() []attack {
	return slices.Concat(stateAttacks(), sharedAttacks(), recordAttacks(), netnsAttacks(), nameAttacks(), containerAttacks(),
		floodAttacks(), callerAttacks(), environmentAttacks(), ownerAttacks())
}

func TestAttacks(t *testing.T) {
	for _, a := range attacks() {
		t.Run(a.name, func(t *testing.T) {
			t.Parallel()
			a.run(newHost(t))
		})
	}
}

// TestTableIsTrue: each row of docs/security.md names tests that exist, and each attack has its
// row.
func TestTableIsTrue(t *testing.T) {
	text, err := os.ReadFile("../../../docs/security.md")
	if err != nil {
		t.Fatal(err)
	}
	named := map[string]bool{}
	for _, m := range regexp.MustCompile("(?m)`([^`|]+)` *\\|$").FindAllStringSubmatch(string(text), -1) {
		if named[m[1]] {
			t.Errorf("docs/security.md names %s twice", m[1])
		}
		named[m[1]] = true
	}
	for _, a := range attacks() {
		if !named[a.name] {
			t.Errorf("docs/security.md has no row for %s", a.name)
		}
		delete(named, a.name)
	}
	for name := range named {
		dir, test, ok := strings.Cut(name, ".")
		if !ok || !definesTest(t, dir, test) {
			t.Errorf("docs/security.md names %s, and no test has that name", name)
		}
	}
}

func definesTest(t *testing.T, dir, name string) bool {
	list, err := filepath.Glob(filepath.Join("../../..", dir, "*_test.go"))
	if err != nil {
		t.Fatal(err)
	}
	return slices.ContainsFunc(list, func(path string) bool {
		text, err := os.ReadFile(path)
		return err == nil && strings.Contains(string(text), "func "+name+"(")
	})
}
