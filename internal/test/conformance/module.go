// SPDX-License-Identifier: Apache-2.0

package conformance

import (
	"bytes"
	_ "embed"
	"encoding/json"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"github.com/swiftcni/swiftcni/internal/tool/build"
)

// calls is the source of the functions that replace the plugin's own. Its package clause is left
// out.
//
//go:embed testdata/calls.go.txt
var calls string

const modulePath = "github.com/containernetworking/plugins"

// stands are the removed functions, with their replacements: those of a plugin that its specs call,
// and the one that starts a bus for firewall's specs, of which the executable must hear. sysBusPCI
// is a variable of host-device's, for the tree that its specs have in the place of /sys.
var stands = map[string]string{
	"cmdAdd":    verb("cmdAdd", "ADD"),
	"cmdDel":    verb("cmdDel", "DEL"),
	"cmdCheck":  verb("cmdCheck", "CHECK"),
	"cmdGC":     verb("cmdGC", "GC"),
	"cmdStatus": verb("cmdStatus", "STATUS"),
	"spawnSessionDbus": `
func spawnSessionDbus(wg *sync.WaitGroup) (string, *exec.Cmd) {
	address, cmd := inProcess_spawnSessionDbus(wg)
	os.Setenv("DBUS_SYSTEM_BUS_ADDRESS", address)
	return address, cmd
}
`,
	"sysBusPCI": "\nfunc init() { conformanceBus = func() string { return filepath.Dir(filepath.Dir(sysBusPCI)) } }\n",
}

func verb(function, verb string) string {
	return "\nfunc " + function + "(args *skel.CmdArgs) error { return conformanceCall(" + strconv.Quote(verb) + ", args) }\n"
}

// Build makes a test program of each suite, DIR/PLUGIN.test, and the programs that the specs run.
// With the reference's own programs, these are in DIR/reference.
func Build(dir string, suites []Suite, reference bool) error {
	module := filepath.Join(dir, "module")
	if err := copyModule(module); err != nil {
		return err
	}
	for _, s := range Suites() {
		if !reference {
			break
		}
		if err := goCommand(module, "build", "-ldflags", "-s -w", "-o", filepath.Join(dir, "reference", s.Plugin), "./"+s.Dir); err != nil {
			return err
		}
	}
	for _, s := range suites {
		if err := divert(filepath.Join(module, s.Dir), s.dummy()); err != nil {
			return fmt.Errorf("%s: %w", s.Dir, err)
		}
		if err := goCommand(module, "test", "-c", "-ldflags", "-s -w", "-o", filepath.Join(dir, s.Plugin+".test"), "./"+s.Dir); err != nil {
			return err
		}
	}
	for _, name := range []string{"server", "client"} {
		if err := goCommand(module, "build", "-o", filepath.Join(dir, "helpers", name), "./pkg/testutils/echo/"+name); err != nil {
			return err
		}
	}
	return nil
}

// copyModule copies the reference's module out of the module cache, where nothing may be changed.
func copyModule(dir string) error {
	out, err := exec.Command("go", "mod", "download", "-json", modulePath+"@"+build.ReferenceVersion).Output()
	if err != nil {
		return fmt.Errorf("go mod download: %w\n%s", err, out)
	}
	var module struct{ Dir string }
	if err := json.Unmarshal(out, &module); err != nil {
		return err
	}
	if err := os.RemoveAll(dir); err != nil {
		return err
	}
	return os.CopyFS(dir, os.DirFS(module.Dir))
}

func goCommand(dir string, args ...string) error {
	cmd := exec.Command("go", args...)
	cmd.Dir = dir
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0", "GOFLAGS=-mod=mod")
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("go %s: %w\n%s", strings.Join(args, " "), err, out)
	}
	return nil
}

// dummy is the type of package netlink that a suite's specs get for Dummy. To most of them a link is
// a link. A kernel may lack the dummy driver, but not bridges, and an ifb can be moved.
func (s Suite) dummy() string {
	switch {
	case s.Guest:
		return "Dummy"
	case s.Moves:
		return "Ifb"
	}
	return "Bridge"
}

// divert makes the specs of a package call executables.
func divert(dir, dummy string) error {
	paths, err := filepath.Glob(filepath.Join(dir, "*.go"))
	if err != nil {
		return err
	}
	functions := map[string][]string{} // by package, those that were removed
	for _, path := range paths {
		text, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		files := token.NewFileSet()
		file, err := parser.ParseFile(files, path, text, parser.SkipObjectResolution)
		if err != nil {
			return err
		}
		r := renaming{dummy: dummy}
		ast.Inspect(file, r.visit)
		if len(r.gone) > 0 {
			functions[file.Name.Name] = append(functions[file.Name.Name], r.gone...)
		}
		if err := os.WriteFile(path, r.apply(text, files), 0o644); err != nil {
			return err
		}
	}
	for name, gone := range functions {
		if err := os.WriteFile(filepath.Join(dir, "conformance_"+name+"_test.go"), generate(name, gone), 0o644); err != nil {
			return err
		}
	}
	return nil
}

// A renaming renames what the specs call: the plugin's functions in their declarations, and
// functions of packages in their calls. No line moves.
type renaming struct {
	dummy string // for netlink.Dummy
	edits []edit
	gone  []string // the plugin's functions, and "" for others
}

// An edit replaces the text of a node of a file.
type edit struct {
	node ast.Node
	text string
}

// others are the functions of packages that are replaced: gexec.Build, since there is no network to
// build with during the run, and gexec.Start, which starts plugins.
var others = map[string]string{"gexec.Build": "conformanceBuild", "gexec.Start": "conformanceStart"}

func (r *renaming) visit(n ast.Node) bool {
	switch n := n.(type) {
	case *ast.FuncDecl:
		if n.Recv == nil && stands[n.Name.Name] != "" {
			r.edits = append(r.edits, edit{n.Name, "inProcess_" + n.Name.Name})
			r.gone = append(r.gone, n.Name.Name)
		}
	case *ast.ValueSpec:
		if stands[n.Names[0].Name] != "" {
			r.gone = append(r.gone, n.Names[0].Name)
		}
	case *ast.KeyValueExpr:
		// libcni.CNIConfig{Path: dirs}: its methods execute plugins.
		if key, _ := n.Key.(*ast.Ident); key != nil && key.Name == "Path" {
			if value, _ := n.Value.(*ast.Ident); value != nil && value.Name == "dirs" {
				r.edits = append(r.edits, edit{value, "conformancePath(dirs)"})
				r.gone = append(r.gone, "")
			}
		}
	case *ast.SelectorExpr:
		x, _ := n.X.(*ast.Ident)
		switch {
		case x == nil:
		case others[x.Name+"."+n.Sel.Name] != "":
			r.edits = append(r.edits, edit{n, others[x.Name+"."+n.Sel.Name]})
			r.gone = append(r.gone, "")
		case x.Name == "netlink" && n.Sel.Name == "Dummy":
			r.edits = append(r.edits, edit{n.Sel, r.dummy})
		}
	}
	return true
}

func (r *renaming) apply(text []byte, files *token.FileSet) []byte {
	for _, e := range slices.Backward(r.edits) {
		text = slices.Concat(text[:files.Position(e.node.Pos()).Offset], []byte(e.text), text[files.Position(e.node.End()).Offset:])
	}
	return text
}

// generate writes the functions that replace the others.
func generate(name string, gone []string) []byte {
	var b bytes.Buffer
	fmt.Fprintf(&b, "package %s\n\n%s", name, calls)
	for _, f := range gone {
		b.WriteString(stands[f])
	}
	return b.Bytes()
}
