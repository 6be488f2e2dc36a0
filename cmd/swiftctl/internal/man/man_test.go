// SPDX-License-Identifier: Apache-2.0

package man

import (
	"bytes"
	"flag"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/spf13/cobra"
	"github.com/swiftcni/swiftcni/cni"
)

var update = flag.Bool("update", false, "rewrite the page of keys")

const pages = "../../../../docs/man/"

// TestManualPage says whether the committed page of keys is what docs/keys.md says now.
func TestManualPage(t *testing.T) {
	text, err := os.ReadFile("../../../../docs/keys.md")
	if err != nil {
		t.Fatal(err)
	}
	now, err := Keys("swiftcni", "keys of the network configurations of swiftcni's plugins", string(text))
	if err != nil {
		t.Fatal("docs/keys.md: ", err)
	}
	now = append(now, ".SH SEE ALSO\n.BR swiftcni (8),\n.BR swiftctl (8)\n"...)
	if *update {
		if err := os.WriteFile(pages+"swiftcni.5", now, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	if page, err := os.ReadFile(pages + "swiftcni.5"); err != nil || !bytes.Equal(page, now) {
		t.Errorf("docs/man/swiftcni.5 isn't what docs/keys.md says; make man rewrites it (%v)", err)
	}
}

func TestPagesPassLint(t *testing.T) {
	list, err := filepath.Glob(pages + "*.[58]")
	if err != nil || len(list) != 4 {
		t.Fatal(list, err)
	}
	for _, file := range list {
		if out, err := exec.Command("mandoc", "-Tlint", "-Wwarning", file).CombinedOutput(); err != nil {
			t.Errorf("%s: %v\n%s", file, err, out)
		}
	}
}

// TestProgramsPage: the page that is written by hand names every plugin, variable and verb.
func TestProgramsPage(t *testing.T) {
	page, err := os.ReadFile(pages + "swiftcni.8")
	if err != nil {
		t.Fatal(err)
	}
	plain := strings.ReplaceAll(string(page), `\-`, "-")
	words := append(cni.PluginNames(), "CNI_COMMAND", "CNI_CONTAINERID", "CNI_NETNS", "CNI_IFNAME", "CNI_ARGS", "CNI_PATH", "CNI_NETNS_OVERRIDE",
		"ADD", "DEL", "CHECK", "GC", "STATUS", "VERSION")
	for _, word := range append(words, cni.Versions()...) {
		if !strings.Contains(plain, word) {
			t.Errorf("docs/man/swiftcni.8 doesn't say %s", word)
		}
	}
}

// read is a page as mandoc shows it.
func read(t *testing.T, page []byte) string {
	t.Helper()
	cmd := exec.Command("mandoc", "-Tascii", "-Owidth=120")
	cmd.Stdin = bytes.NewReader(page)
	out, err := cmd.Output()
	if err != nil {
		t.Fatal(err)
	}
	var b strings.Builder // without overstriking
	for i := 0; i < len(out); i++ {
		if i+1 < len(out) && out[i+1] == '\b' {
			i++
			continue
		}
		b.WriteByte(out[i])
	}
	return b.String()
}

func TestWhatIsWrittenIsShown(t *testing.T) {
	root := &cobra.Command{Use: "tool", Short: "Do this", Long: "Text with --flag, \\escapes, \"quotes\" and `ticks`.\n.dots and 'single' ones."}
	c := &cobra.Command{Use: "list CONF [--all]", Aliases: []string{"ls"}, Run: func(*cobra.Command, []string) {},
		Long: "First.\n\n  word-one   meaning\n  .x\n\nLast ~/^."}
	c.Flags().StringP("output", "o", "table", "`form` of it")
	c.Flags().Bool("all", false, "take all")
	root.AddCommand(c)
	got := read(t, Commands(root, ".SH MORE\nand more\n"))
	for _, want := range []string{"tool - do this", "tool list conf [--all]", `--flag, \escapes, "quotes" and ` + "`ticks`", ".dots and 'single' ones.",
		"list, ls", "word-one   meaning", "           .x", "Last ~/^.", "-o, --output form", "form of it; by default table", "--all", "and more"} {
		if !strings.Contains(got, want) {
			t.Errorf("%q isn't in\n%s", want, got)
		}
	}
	if strings.Contains(got, "--help") {
		t.Error("every command's flag is listed:", got)
	}
}

func TestKeys(t *testing.T) {
	page, err := Keys("keys", "about it", "# Title\n\nText of `code`.\nMore.\n\n## one, under `ipam`\n| key | type | meaning |\n|---|---|---|\n"+
		"| `a-b` | `x`, `y` | either \\| or |\n| `.c` | | `'d'` |\n\n### part of `one`\n- first\n  line\n- second\n\n## two\ntext\n\nA [file](../a/b.sh), a\n[page](https://example.com/a-b).\n")
	if err != nil {
		t.Fatal(err)
	}
	got := read(t, page)
	for _, want := range []string{"keys - about it", "Text of code.  More.", "ONE, UNDER IPAM", "a-b (x, y)", "either | or", ".c     'd'", "part of one", "first line", "second", "TWO\n       text", "A file, a page, https://example.com/a-b."} {
		if !strings.Contains(got, want) {
			t.Errorf("%q isn't in\n%s", want, got)
		}
	}
	for _, bad := range []string{"```\ncode\n```", "#### deep", "| one |\n|---|\n| x |"} {
		if _, err := Keys("keys", "about", bad); err == nil {
			t.Errorf("no error for %q", bad)
		}
	}
}
