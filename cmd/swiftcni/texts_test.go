// SPDX-License-Identifier: Apache-2.0

package main

import (
	"regexp"
	"strings"
	"testing"
)

// TestErrorTexts gives the bad input to the reference as well. If that refuses it in words of its
// own, ours are the same to the letter: people search for them, and programs compare them. All
// further words are in the details.
func TestErrorTexts(t *testing.T) {
	t.Parallel()
	theirs, ours := newWorld(t, t.TempDir()), newWorld(t, t.TempDir())
	for dir, w := range map[string]*world{referenceDir(): theirs, oursDir(): ours} {
		for _, name := range []string{"live", "c1"} {
			if err := w.netns(name); err != nil {
				t.Fatal(err)
			}
		}
		if a, err := w.run(call{verb: "ADD", container: "live", ifName: "eth0", conf: []byte(good), plugins: dir}); err != nil || a.status != 0 {
			t.Fatalf("%v: %s", err, a.stdout)
		}
		w.must("", "ip", "link", "add", "dummy0", "type", "veth", "peer", "name", "dummy1")
	}
	compared, ran := 0, 0
	for _, row := range badInputs() {
		if row.program == "swiftcni" || row.ownWords {
			continue
		}
		t.Run(row.name, func(t *testing.T) {
			ran++
			want, _ := row.callOf(t, theirs, referenceDir()).failure()
			if theirWords(want.Msg) {
				compared++
				got, _ := row.call(t, ours).failure()
				if volatileWords.ReplaceAllString(got.Msg, "") != volatileWords.ReplaceAllString(want.Msg, "") {
					t.Errorf("got  %q\ndetails %q\nwant %q", got.Msg, got.Details, want.Msg)
				}
			}
			// It may have left an interface or a lease.
			theirs.must("", "sh", "-c", "grep -ls c1 /var/lib/cni/networks/*/* | xargs rm -f")
			if err := theirs.vanish("c1", false); err != nil {
				t.Fatal(err)
			}
			if err := theirs.netns("c1"); err != nil {
				t.Fatal(err)
			}
		})
	}
	if compared*4 < ran {
		t.Errorf("only %d texts of %d compared", compared, ran)
	}
	ours.finish()
}

// theirWords reports whether a text is the reference's or the kernel's: not one of encoding/json,
// whose types we haven't, nor of a program that it runs, nor of its library for netlink, nor that
// this kernel lacks a kind of links, before the reference has looked at the rest of its input.
func theirWords(msg string) bool {
	for _, other := range []string{"json: ", "running [/", "Link not found", "netplugin failed", "Error switching to ns", "%!q(",
		"vlan: operation not supported", "dummy: operation not supported"} {
		if strings.Contains(msg, other) {
			return false
		}
	}
	return msg != ""
}

// volatileWords are random names, and directories of the plugins.
var volatileWords = regexp.MustCompile(`veth[0-9a-f]{8}|/(ours|reference)\b`)
