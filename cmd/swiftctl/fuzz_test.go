// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bytes"
	"encoding/json"
	"path"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
)

// FuzzState: whatever a runtime sends is refused, or is a state that the hook can act on: with an
// ID, of a status that it serves, and a bundle that doesn't depend on where the hook was started.
// Told again it's the same state.
func FuzzState(f *testing.F) {
	for _, text := range []string{
		`{"ociVersion":"1.0.2","id":"c1","status":"creating","pid":4242,"bundle":"/run/c1"}`,
		`{"ociVersion":"1.2.0","id":"c1","status":"stopped","bundle":"/run/c1","annotations":{"a":"b"}}`,
		`{"id":"c1","status":"created","pid":0,"bundle":"relative"}`,
		`{"id":"../../c1","ID":"c2","status":"stopped","pid":-1}`,
		`{"id":"c1","status":"creating","pid":1e400,"bundle":"/"}`,
		"{\"id\":\"\\u0000\",\"status\":\"creating\",\"bundle\":\"/\\ud800\"} x", `[]`, `null`, ``, `{"id":`,
	} {
		f.Add([]byte(text))
	}
	f.Fuzz(func(t *testing.T, text []byte) {
		s, err := readState(bytes.NewReader(text))
		if err != nil {
			if s != nil {
				t.Errorf("a state beside the error %v", err)
			}
			return
		}
		if s.ID == "" || !s.attaches() && s.Status != "stopped" || s.attaches() && !filepath.IsAbs(s.Bundle) {
			t.Errorf("%q became %+v", text, s)
		}
		if ns, err := netnsOf(s.PID); err == nil && (path.Clean(ns) != ns || !strings.HasPrefix(ns, "/proc/") || strings.Count(ns, "/") != 4) {
			t.Errorf("pid %d has the namespace %s", s.PID, ns)
		}
		told, err := json.Marshal(s)
		if err != nil {
			t.Fatal(err)
		}
		if again, err := readState(bytes.NewReader(told)); err != nil || !reflect.DeepEqual(s, again) {
			t.Errorf("%s was %+v and is %+v, %v", told, s, again, err)
		}
	})
}

// FuzzBundle: a config.json that's taken names a root, which is absolute in an absolute bundle;
// whichever spelling of /etc/resolv.conf it mounts something on is found.
func FuzzBundle(f *testing.F) {
	for _, text := range []string{
		`{"ociVersion":"1.0.2","root":{"path":"rootfs","readonly":true},"mounts":[{"destination":"/proc","type":"proc"}]}`,
		`{"root":{"path":"/srv/root"},"mounts":[{"destination":"/etc/resolv.conf","source":"/x","options":["bind"]}]}`,
		`{"root":{"path":"../../.."},"mounts":[{"destination":"etc/./resolv.conf/"}]}`,
		`{"root":{"path":"r"},"mounts":[{"destination":"//etc/x/.."},null]}`,
		`{"root":null,"mounts":null}`, `{"root":{"path":7}}`, `{"mounts":{}}`, `[]`, `{`, ``,
	} {
		f.Add([]byte(text))
	}
	f.Fuzz(func(t *testing.T, text []byte) {
		b, err := parseBundle("config.json", text)
		if err != nil {
			if b != nil {
				t.Errorf("a bundle beside the error %v", err)
			}
			return
		}
		if root := b.rootPath("/run/bundle"); !filepath.IsAbs(root) {
			t.Errorf("root %q", root)
		}
		covered := false
		for _, m := range b.Mounts {
			rel, err := filepath.Rel(filepath.Join("/", m.Destination), "/etc/resolv.conf")
			covered = covered || err == nil && (rel == "." || rel == "resolv.conf")
		}
		if at, ok := b.coversResolvConf(); ok != covered {
			t.Errorf("%q: covers resolv.conf: %v by %q, want %v", text, ok, at, covered)
		}
	})
}
