// SPDX-License-Identifier: Apache-2.0

package main

import (
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

func TestBridgeOf(t *testing.T) {
	for _, test := range []struct {
		name, text, plugin string
		others             []string
	}{
		{"a plain configuration as it is", ` {"type":"bridge"}`, ` {"type":"bridge"}`, nil},
		{"no JSON as it is", `{`, `{`, nil},
		{"name and version over the plugin's own",
			`{"cniVersion":"0.4.0","name":"n","plugins":[{"type":"bridge","name":"x","cniVersion":"0.1.0","mtu":9}]}`,
			`{"cniVersion":"0.4.0","mtu":9,"name":"n","type":"bridge"}`, nil},
		{"keys in any case", `{"CNIVersion":"0.4.0","Name":"n","Plugins":[{"type":"bridge"}]}`,
			`{"cniVersion":"0.4.0","name":"n","type":"bridge"}`, nil},
		{"the newest version known", `{"cniVersion":"0.3.1","cniVersions":["0.4.0","1.0.0","8.0.0"],"name":"n","plugins":[{"type":"bridge"}]}`,
			`{"cniVersion":"1.0.0","name":"n","type":"bridge"}`, nil},
		{"no version known", `{"cniVersion":"8.0.0","name":"n","plugins":[{"type":"bridge"}]}`,
			`{"cniVersion":"8.0.0","name":"n","type":"bridge"}`, nil},
		{"the first of two, in a list with others", `{"name":"n","plugins":[{"type":"a"},{"type":"bridge","mtu":1},{"type":"bridge","mtu":2}]}`,
			`{"cniVersion":"","mtu":1,"name":"n","type":"bridge"}`, []string{"a", "bridge"}},
	} {
		t.Run(test.name, func(t *testing.T) {
			plugin, others, err := bridgeOf([]byte(test.text))
			if err != nil || string(plugin) != test.plugin || !slices.Equal(others, test.others) {
				t.Errorf("got %s, %q, %v\nwant %s, %q", plugin, others, err, test.plugin, test.others)
			}
		})
	}
	for _, text := range []string{
		`{"plugins":null}`, `{"plugins":[]}`, `{"plugins":{}}`, `{"plugins":[null]}`, `{"plugins":[1]}`,
		`{"plugins":[{"type":7}]}`, `{"name":7,"plugins":[{"type":"bridge"}]}`,
	} {
		if plugin, _, err := bridgeOf([]byte(text)); err == nil {
			t.Errorf("%s became %s", text, plugin)
		}
	}
}

// zeros never end.
type zeros struct{}

func (zeros) Read(p []byte) (int, error) { clear(p); return len(p), nil }

func TestInputIsBounded(t *testing.T) {
	if _, err := readState(zeros{}); err == nil || !strings.Contains(err.Error(), "larger than 4 MiB") {
		t.Errorf("an endless state: %v", err)
	}
	if _, err := readConf("-", zeros{}, false); err == nil || !strings.Contains(err.Error(), "larger than 16 MiB") {
		t.Errorf("an endless configuration: %v", err)
	}
	text, err := readBounded(io.LimitReader(zeros{}, 1<<20), "zeros", 1<<20)
	if err != nil || len(text) != 1<<20 {
		t.Errorf("as much as is allowed: %d bytes, %v", len(text), err)
	}
}

func TestHookLogFollowsNoLink(t *testing.T) {
	dir := t.TempDir()
	victim, link := filepath.Join(dir, "victim"), filepath.Join(dir, "link")
	if err := os.Symlink(victim, link); err != nil {
		t.Fatal(err)
	}
	if log, err := openLog(link); err == nil {
		log.close()
		t.Error("the link was opened")
	}
	if _, err := os.Lstat(victim); err == nil {
		t.Error("the link's target was made")
	}
}
