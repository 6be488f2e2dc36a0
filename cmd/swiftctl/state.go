// SPDX-License-Identifier: Apache-2.0

package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"path"
	"path/filepath"
)

// Bounds of the hook's input, in bytes.
const (
	maxState        = 4 << 20
	maxBundleConfig = 16 << 20
)

// state is a runtime's description of a container for a hook (OCI runtime specification,
// runtime.md, "State").
type state struct {
	ID     string `json:"id"`
	Status string `json:"status"`
	PID    int    `json:"pid"` // none once it has stopped: runc leaves it out, crun says 0
	Bundle string `json:"bundle"`
}

// attaches reports whether the container is being created. Otherwise it has stopped. runc says
// "creating" in createRuntime and prestart hooks, crun "created".
func (s *state) attaches() bool { return s.Status == "creating" || s.Status == "created" }

// readState reads the state and finds its errors, except those of the ID, which the network judges.
func readState(r io.Reader) (*state, error) {
	text, err := readBounded(r, "the container's state from standard input", maxState)
	if err != nil {
		return nil, err
	}
	if len(text) == 0 {
		return nil, errors.New("standard input is empty: a runtime sends the container's state there")
	}
	s := new(state)
	if err := json.Unmarshal(text, s); err != nil {
		return nil, fmt.Errorf("the container's state on standard input: %w", err)
	}
	switch {
	case s.ID == "":
		return nil, errors.New(`the container's state on standard input has no "id"`)
	case s.Status == "stopped":
		return s, nil
	case !s.attaches():
		return nil, fmt.Errorf(`status is %q: this is a hook for createRuntime or prestart ("creating", "created") and poststop ("stopped")`, s.Status)
	}
	if !filepath.IsAbs(s.Bundle) {
		return nil, fmt.Errorf("bundle is %q, expected an absolute path", s.Bundle)
	}
	return s, nil
}

// bundle is the part of a container's config.json that the hook uses (OCI runtime specification,
// config.md).
type bundle struct {
	Root *struct {
		Path string `json:"path"`
	} `json:"root"`
	Mounts []struct {
		Destination string `json:"destination"`
	} `json:"mounts"`
}

func readBundle(dir string) (*bundle, error) {
	name := filepath.Join(dir, "config.json")
	text, err := readFile(name, maxBundleConfig)
	if err != nil {
		return nil, fmt.Errorf("bundle: %w", err)
	}
	return parseBundle(name, text)
}

func parseBundle(name string, text []byte) (*bundle, error) {
	b := new(bundle)
	if err := json.Unmarshal(text, b); err != nil {
		return nil, fmt.Errorf("bundle: %s: %w", name, err)
	}
	if b.Root == nil || b.Root.Path == "" {
		return nil, fmt.Errorf("bundle: %s has no root.path", name)
	}
	return b, nil
}

// rootPath is the path of the root directory of a bundle in dir.
func (b *bundle) rootPath(dir string) string {
	if filepath.IsAbs(b.Root.Path) {
		return b.Root.Path
	}
	return filepath.Join(dir, b.Root.Path)
}

// coversResolvConf returns the mount under which the container won't see its root's
// /etc/resolv.conf.
func (b *bundle) coversResolvConf() (destination string, ok bool) {
	for _, m := range b.Mounts {
		switch path.Clean("/" + m.Destination) {
		case "/etc", "/etc/resolv.conf":
			return m.Destination, true
		}
	}
	return "", false
}
