// SPDX-License-Identifier: Apache-2.0

// Package inprocess serves programs that use libcni (github.com/containernetworking/cni/libcni) without starting a
// plugin: they make a libcni.CNIConfig somewhere, as CRI-O and podman do, or go-cni for containerd, nerdctl and BuildKit, and
// one argument changes:
//
//	libcni.NewCNIConfig(dirs, inprocess.New(&invoke.DefaultExec{RawExec: &invoke.RawExec{Stderr: os.Stderr}}))
//
// Configurations, results, errors and libcni's cache are as before. Plugins with other names are still executed. dirs must
// name a directory, as the specification wants it, though it needn't exist.
//
// The package doesn't import libcni's client itself, so that the version is the program's choice.
//
// Caveat: a call works in the network namespace of the goroutine's thread. A program that moves threads about must
// give them back as they were, as the Go runtime wants it anyway.
package inprocess

import (
	"bytes"
	"context"
	"errors"
	"slices"
	"strings"

	"github.com/containernetworking/cni/pkg/types"
	"github.com/containernetworking/cni/pkg/version"
	"github.com/swiftcni/swiftcni/cni"
)

// An Executor finds and runs plugins: it has the methods of libcni's invoke.Exec, and *invoke.DefaultExec is one.
type Executor interface {
	ExecPlugin(ctx context.Context, path string, stdin []byte, environ []string) ([]byte, error)
	FindInPath(name string, dirs []string) (string, error)
	Decode(text []byte) (version.PluginInfo, error)
}

// An Exec is an [Executor] that serves some plugins itself. It may be used by many goroutines at once.
type Exec struct {
	other Executor
	names []string
}

// New returns an Exec that serves the plugins that are named, or all of [cni.PluginNames] if none is. Any other is left to other.
// What's named is served whether or not a directory has a file of that name.
func New(other Executor, names ...string) *Exec {
	if len(names) == 0 {
		names = cni.PluginNames()
	}
	return &Exec{other, slices.Clone(names)}
}

// scheme begins what FindInPath returns for a plugin that is served here. No directory entry can be meant, since libcni's
// paths have one of its search directories before the name.
const scheme = "swiftcni:"

// FindInPath returns the path of a plugin: for one that's served here, a text that ExecPlugin knows.
func (e *Exec) FindInPath(name string, dirs []string) (string, error) {
	if slices.Contains(e.names, name) {
		return scheme + name, nil
	}
	return e.other.FindInPath(name, dirs)
}

// ExecPlugin does what a plugin does with this input and environment, and returns what it prints. A plugin's error is a
// *types.Error, as it is when libcni executes one.
func (e *Exec) ExecPlugin(ctx context.Context, path string, stdin []byte, environ []string) ([]byte, error) {
	name, ours := strings.CutPrefix(path, scheme)
	if !ours {
		return e.other.ExecPlugin(ctx, path, stdin, environ)
	}
	out, err := cni.Call(ctx, name, environment(environ).get, bytes.NewReader(stdin))
	var libcnis *types.Error
	if errors.As(err, &libcnis) {
		return nil, libcnis
	}
	return out, err
}

// Decode reads the answer to VERSION.
func (e *Exec) Decode(text []byte) (version.PluginInfo, error) { return e.other.Decode(text) }

// environment is a list of NAME=value, as a process gets it.
type environment []string

// get returns the last value, as a shell and libcni have it.
func (e environment) get(name string) string {
	for _, kv := range slices.Backward(e) {
		if value, ok := strings.CutPrefix(kv, name); ok && strings.HasPrefix(value, "=") {
			return value[1:]
		}
	}
	return ""
}
