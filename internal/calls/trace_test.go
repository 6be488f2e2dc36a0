// SPDX-License-Identifier: Apache-2.0

package calls

import (
	"strings"
	"testing"
	"time"
)

func TestTraceParent(t *testing.T) {
	const good = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
	for value, want := range map[string]string{
		good: good,
		"00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-00":            "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-00",
		"cc-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01":            good,
		"cc-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01-what-comes": good,
		"": "",
		"00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01-more": "",
		"cc-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01.more": "",
		"ff-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01":      "",
		"00-00000000000000000000000000000000-b7ad6b7169203331-01":      "",
		"00-0af7651916cd43dd8448eb211c80319c-0000000000000000-01":      "",
		strings.ToUpper(good):              "",
		strings.Replace(good, "c", "g", 1): "",
		strings.ReplaceAll(good, "-", "_"): "",
		good[:len(good)-1]:                 "",
	} {
		if got := TraceParent(value); got != want {
			t.Errorf("%q: %q, want %q", value, got, want)
		}
	}
	if id := (&Call{TraceParent: good}).TraceID(); id != "0af7651916cd43dd8448eb211c80319c" {
		t.Error(id)
	}
}

// A text that is no trace's isn't kept.
func TestOtherTracesAreLeftOut(t *testing.T) {
	c := sample(time.Unix(1700000000, 0))
	c.TraceParent = strings.Repeat("0", 55)
	recorded(t, c)
	if list, err := Load(); err != nil || len(list) != 1 || list[0].TraceParent != "" || list[0].TraceID() != "" {
		t.Error(list, err)
	}
}
