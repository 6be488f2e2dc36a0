// SPDX-License-Identifier: Apache-2.0

package bars

import (
	"encoding/xml"
	"io"
	"strings"
	"testing"
)

var groups = []Group{
	{"ADD", []Row{{"others <&>", 10, 40, Others}, {"ours", 2.5, 3, Ours}}},
	{"DEL", []Row{{"others <&>", 20, 20, Others}, {"ours", 0.1, 30, Ours}}},
}

func TestTextShowsMediansToScale(t *testing.T) {
	const want = `     ms              p50      p99
ADD  others <&>    10.00    40.00  ████████████████████
     ours           2.50     3.00  █████
DEL  others <&>    20.00    20.00  ████████████████████████████████████████
     ours           0.10    30.00  ▎
`
	var b strings.Builder
	if err := Text(&b, groups); err != nil || b.String() != want {
		t.Errorf("%v\n%s", err, &b)
	}
}

func TestPictureIsXMLWithAllBars(t *testing.T) {
	var b strings.Builder
	if err := SVG(&b, "a < b", groups, []string{"one & two"}); err != nil {
		t.Fatal(err)
	}
	texts, rects := map[string]bool{}, 0
	for d := xml.NewDecoder(strings.NewReader(b.String())); ; {
		token, err := d.Token()
		if err == io.EOF {
			break
		}
		if err != nil {
			t.Fatalf("%v\n%s", err, &b)
		}
		switch token := token.(type) {
		case xml.StartElement:
			if token.Name.Local == "rect" {
				rects++
			}
		case xml.CharData:
			texts[string(token)] = true
		}
	}
	for _, want := range []string{"a < b", "others <&>", "2.50, 3.00 ms", "one & two"} {
		if !texts[want] {
			t.Errorf("no text %q in\n%s", want, &b)
		}
	}
	if rects != 1+4 {
		t.Errorf("%d rectangles, want 4 and the ground", rects)
	}
}
