// SPDX-License-Identifier: Apache-2.0

package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"net/netip"
	"os"
	"path/filepath"
	"regexp"
	"strings"

	"golang.org/x/sys/unix"
)

// toJSON is for values that can't fail.
func toJSON(v any) []byte {
	text, err := json.Marshal(v)
	if err != nil {
		panic(err)
	}
	return text
}

// traces are all that attachments have on a host.
type traces struct {
	links    []string // host ends
	elements []string // lines of the ruleset that name an owner
	leases   []string // "file: content"
	records  []string // files
	inside   []string // "container/link"
}

func (s traces) all() []string {
	var list []string
	for _, l := range [][]string{s.links, s.elements, s.leases, s.records, s.inside} {
		list = append(list, l...)
	}
	return list
}

// hostEnd is how both swiftcni and the reference name the host's end of a pair.
var hostEnd = regexp.MustCompile(`^veth[0-9a-f]{8}$`)

// owned finds a comment that names an owner: ours, the reference's masquerade, its spoof check.
var owned = regexp.MustCompile(`comment "(\S+/|[0-9a-f]{16}-[0-9a-f]{16}|macspoofchk-)`)

// traces looks for what attachments left.
func (w *world) traces() (s traces, err error) {
	links, err := w.links("")
	if err != nil {
		return s, err
	}
	for _, l := range links {
		if hostEnd.MatchString(l) {
			s.links = append(s.links, l)
		}
	}
	ruleset, err := w.exec("", "nft", "list", "ruleset")
	if err != nil {
		return s, fmt.Errorf("nft list ruleset: %w: %s", err, ruleset)
	}
	for line := range strings.Lines(ruleset) {
		if owned.MatchString(line) || strings.Contains(line, "elements = {") {
			s.elements = append(s.elements, strings.TrimSpace(line))
		}
	}
	for _, store := range w.stores {
		if err := w.do("", func() error { return s.readStore(store) }); err != nil {
			return s, err
		}
	}
	attached := map[string]bool{}
	for _, c := range w.live {
		attached[c.ifName] = true
	}
	for _, name := range w.nets {
		links, err := w.links(name)
		if err != nil {
			return s, err
		}
		for _, l := range links {
			if l == "eth0" || l == "eth1" || attached[l] {
				s.inside = append(s.inside, name+"/"+l)
			}
		}
	}
	return s, nil
}

// links lists the links of the host or a container.
func (w *world) links(name string) ([]string, error) {
	out, err := w.exec(name, "ip", "-j", "link")
	if err != nil {
		return nil, fmt.Errorf("ip link: %w: %s", err, out)
	}
	var list []struct {
		IfName string `json:"ifname"`
	}
	if err := json.Unmarshal([]byte(out), &list); err != nil {
		return nil, err
	}
	var names []string
	for _, l := range list {
		names = append(names, l.IfName)
	}
	return names, nil
}

// readStore collects leases and records below a data directory.
func (s *traces) readStore(dir string) error {
	err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		if d.Type()&fs.ModeSymlink != 0 {
			if !strings.HasPrefix(d.Name(), "@") {
				s.records = append(s.records, path)
			}
			return nil
		}
		if _, err := netip.ParseAddr(d.Name()); err != nil {
			return nil
		}
		text, err := os.ReadFile(path)
		s.leases = append(s.leases, path+": "+string(text))
		return err
	})
	if errors.Is(err, fs.ErrNotExist) || errors.Is(err, unix.ENOTDIR) {
		return nil
	}
	return err
}

// noTrace is an error if any attachment is left anywhere.
func (w *world) noTrace() error {
	s, err := w.traces()
	if err != nil {
		return err
	}
	if all := s.all(); len(all) > 0 {
		return fmt.Errorf("left behind:\n%s", strings.Join(all, "\n"))
	}
	return nil
}

// noTraceOf is an error if anything of a container is left: whatever names it, and its host ends.
func (w *world) noTraceOf(id string) error {
	s, err := w.traces()
	if err != nil {
		return err
	}
	word := regexp.MustCompile(`(^|[^A-Za-z0-9_.-])` + regexp.QuoteMeta(id) + `($|[^A-Za-z0-9_.-])`)
	var left []string
	for _, t := range s.all() {
		if word.MatchString(t) {
			left = append(left, t)
		}
	}
	for owner, result := range w.results {
		if _, attachment, _ := strings.Cut(owner, " "); !strings.HasPrefix(attachment, id+"/") {
			continue
		}
		for _, l := range s.links {
			if strings.Contains(string(result), `"`+l+`"`) {
				left = append(left, l)
			}
		}
	}
	if len(left) > 0 {
		return fmt.Errorf("left of %s:\n%s", id, strings.Join(left, "\n"))
	}
	return nil
}

// finish detaches what a test left attached, and wants a clean host afterwards.
func (w *world) finish() {
	for _, c := range w.live {
		c.verb = "DEL"
		a, err := w.run(c)
		if err != nil || a.status != 0 {
			w.t.Errorf("at the end: DEL %s: %v %s%s", c.owner(), err, a.stdout, a.stderr)
		}
	}
	if err := w.noTrace(); err != nil {
		w.t.Errorf("at the end: %v", err)
	}
}
