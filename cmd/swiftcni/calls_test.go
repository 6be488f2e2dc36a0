// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"net/netip"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
)

// A call is one run of a plugin.
type call struct {
	verb, container, ifName string
	conf                    []byte
	plugins                 string            // directory of the program; empty is ours
	program                 string            // empty is the configuration's type
	env                     map[string]string // beside or instead of the usual variables; "" unsets one
	bare                    bool              // without the result of the last ADD
}

// An answer is what a run of a plugin left behind.
type answer struct {
	stdout, stderr []byte
	status         int
}

// failure is the error object that a plugin prints.
type failure struct {
	CNIVersion string `json:"cniVersion"`
	Code       int    `json:"code"`
	Msg        string `json:"msg"`
	Details    string `json:"details"`
}

// failure reads the one error object on stdout.
func (a answer) failure() (f failure, err error) {
	d := json.NewDecoder(bytes.NewReader(a.stdout))
	d.DisallowUnknownFields()
	if err := d.Decode(&f); err != nil {
		return f, fmt.Errorf("stdout isn't one error object: %w: %q", err, a.stdout)
	}
	if d.More() {
		return f, fmt.Errorf("text after the error object: %q", a.stdout)
	}
	if f.Msg == "" {
		return f, fmt.Errorf("error object without msg: %q", a.stdout)
	}
	return f, nil
}

// calls is what a runtime remembers of its calls.
type calls struct {
	live    map[string]call   // attachments, by owner
	results map[string][]byte // of the last ADD, by owner
	stores  []string          // lease stores that a call named
}

func newCalls() calls { return calls{live: map[string]call{}, results: map[string][]byte{}} }

// keys are the parts of a configuration that a runtime looks at.
type keys struct {
	Version string `json:"cniVersion"`
	Name    string `json:"name"`
	Type    string `json:"type"`
	IPAM    struct {
		Type    string `json:"type"`
		DataDir string `json:"dataDir"`
	} `json:"ipam"`
}

func keysOf(conf []byte) (k keys) {
	_ = json.Unmarshal(conf, &k) // a configuration may be broken on purpose
	return k
}

func (c call) owner() string { return keysOf(c.conf).Name + " " + c.container + "/" + c.ifName }

// run calls a plugin as a runtime would, and remembers what came of it.
func (w *world) run(c call) (answer, error) {
	k := keysOf(c.conf)
	conf := c.conf
	if prev := w.results[c.owner()]; prev != nil && !c.bare && hasPrevResult(c.verb, k.Version) {
		var err error
		if conf, err = withKey(conf, "prevResult", prev); err != nil {
			return answer{}, err
		}
	}
	if c.plugins == "" {
		c.plugins = oursDir()
	}
	program := c.program
	if program == "" {
		program = k.Type
	}
	cmd := exec.Command(filepath.Join(c.plugins, program))
	cmd.Env = c.environment()
	a, err := w.capture(cmd, conf)
	if err == nil {
		w.remember(c, a)
	}
	return a, err
}

// capture runs a plugin on the host with an input.
func (w *world) capture(cmd *exec.Cmd, stdin []byte) (answer, error) {
	var stdout, stderr bytes.Buffer
	cmd.Stdin, cmd.Stdout, cmd.Stderr = bytes.NewReader(stdin), &stdout, &stderr
	err := w.startPlugin(cmd)
	if err != nil {
		return answer{}, err
	}
	err = cmd.Wait()
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) && cmd.ProcessState == nil {
		return answer{}, err
	}
	return answer{stdout.Bytes(), stderr.Bytes(), cmd.ProcessState.ExitCode()}, nil
}

func hasPrevResult(verb, version string) bool {
	return verb == "CHECK" || verb == "DEL" && !slices.Contains([]string{"", "0.1.0", "0.2.0", "0.3.0", "0.3.1"}, version)
}

func (c call) environment() []string {
	vars := map[string]string{
		"CNI_COMMAND": c.verb, "CNI_CONTAINERID": c.container, "CNI_IFNAME": c.ifName, "CNI_PATH": c.plugins,
		"PATH": "/usr/sbin:/usr/bin:/sbin:/bin",
	}
	if c.container != "" {
		vars["CNI_NETNS"] = netnsPath(c.container)
	}
	for name, value := range c.env {
		vars[name] = value
	}
	var env []string
	for name, value := range vars {
		if value != "" {
			env = append(env, name+"="+value)
		}
	}
	return env
}

func (w *world) remember(c call, a answer) {
	k := keysOf(c.conf)
	if k.IPAM.Type == "host-local" || k.Type == "host-local" {
		dir := k.IPAM.DataDir
		if dir == "" {
			dir = "/var/lib/cni/networks"
		}
		if !slices.Contains(w.stores, dir) {
			w.stores = append(w.stores, dir)
		}
	}
	if a.status != 0 {
		return
	}
	switch c.verb {
	case "ADD":
		w.live[c.owner()], w.results[c.owner()] = c, a.stdout
	case "DEL":
		delete(w.live, c.owner())
	}
}

// withKey returns a configuration with a key set to a JSON value, or without it if there's no
// value. A dot in the key goes one object down.
func withKey(conf []byte, key string, value []byte) ([]byte, error) {
	object := map[string]json.RawMessage{}
	if err := json.Unmarshal(conf, &object); err != nil {
		return nil, fmt.Errorf("%w in %s", err, conf)
	}
	rest, nested := "", false
	if !strings.HasPrefix(key, "cni.dev/") {
		key, rest, nested = strings.Cut(key, ".")
	}
	switch {
	case nested:
		inner := object[key]
		if inner == nil {
			inner = json.RawMessage("{}")
		}
		inner, err := withKey(inner, rest, value)
		if err != nil {
			return nil, err
		}
		object[key] = inner
	case len(value) == 0:
		delete(object, key)
	default:
		if !json.Valid(value) {
			return nil, fmt.Errorf("value of %q isn't JSON: %s", key, value)
		}
		object[key] = value
	}
	return json.Marshal(object)
}

// stable is a result in which what differs from run to run has a name instead: the bridge's MAC,
// and that of a container whose MAC doesn't follow from an address.
func stable(stdout []byte) []byte {
	var r struct {
		Interfaces []struct{ MAC, Sandbox string }
		IPs        []struct{ Address netip.Prefix }
	}
	if json.Unmarshal(stdout, &r) != nil || len(r.Interfaces) < 3 {
		return stdout
	}
	out := bytes.ReplaceAll(stdout, []byte(r.Interfaces[0].MAC), []byte("BRIDGE-MAC"))
	if len(r.IPs) == 0 || r.IPs[0].Address.Addr().Is4() && strings.HasPrefix(r.Interfaces[2].MAC, "0a:59:") {
		out = bytes.ReplaceAll(out, []byte(r.Interfaces[2].MAC), []byte("CONTAINER-MAC"))
	}
	return out
}
