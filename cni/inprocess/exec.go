// SPDX-License-Identifier: Apache-2.0

// Package inprocess serves programs that use libcni (github.com/containernetworking/cni/libcni)
// without starting a plugin. Such programs make a libcni.CNIConfig somewhere, as CRI-O and podman
// do, or go-cni for containerd, nerdctl and BuildKit. One argument changes:
//
//	libcni.NewCNIConfig(dirs, inprocess.New(&invoke.DefaultExec{
//		RawExec: &invoke.RawExec{Stderr: os.Stderr},
//	}))
//
// Configurations, results, errors and libcni's cache are as before. Plugins with other names are
// still executed. dirs must name a directory, as the specification wants it, but the directory
// needn't exist.
//
// The package doesn't import libcni's client itself, so its version is the program's choice.
//
// Caveat: a call works in the network namespace of the goroutine's thread. A program that moves
// threads to other namespaces must bring them back, as the Go runtime requires anyway.
package inprocess

import (
	"bytes"
	"context"
	"errors"
	"runtime"
	"slices"
	"strings"

	"github.com/containernetworking/cni/pkg/types"
	"github.com/containernetworking/cni/pkg/version"
	"github.com/swiftcni/swiftcni/cni"
)

// An Executor finds and runs plugins. It has the methods of libcni's invoke.Exec, and
// *invoke.DefaultExec is one.
type Executor interface {
	ExecPlugin(ctx context.Context, path string, stdin []byte, environ []string) ([]byte, error)
	FindInPath(name string, dirs []string) (string, error)
	Decode(text []byte) (version.PluginInfo, error)
}

// An Exec is an [Executor] that serves some plugins itself. It may be used by many goroutines at once.
//
// It's a [cni.Client]: it keeps up to some dozen sockets open from one call to the next. [Exec.Close]
// closes them. So does the garbage collector, if an Exec is given up without it.
type Exec struct {
	other  Executor
	names  []string
	client *cni.Client
}

// New returns an Exec that serves the named plugins, or all of [cni.PluginNames] if none is named.
// Any other plugin is left to other. A named plugin is served whether or not a directory has a file
// of that name.
func New(other Executor, names ...string) *Exec {
	if len(names) == 0 {
		names = cni.PluginNames()
	}
	e := &Exec{other, slices.Clone(names), &cni.Client{}}
	runtime.AddCleanup(e, func(c *cni.Client) { go c.Close() }, e.client)
	return e
}

// Close closes the sockets that are kept. It waits up to some 35 ms for the kernel, and for no call.
// The Exec goes on serving calls, and keeps nothing from then on.
func (e *Exec) Close() error { return e.client.Close() }

// scheme begins the path that FindInPath returns for a plugin that is served here. It can't be a
// directory entry, since libcni's paths have one of its search directories before the name.
const scheme = "swiftcni:"

// FindInPath returns the path of a plugin. For a plugin that is served here, it's a text that
// ExecPlugin knows.
func (e *Exec) FindInPath(name string, dirs []string) (string, error) {
	if slices.Contains(e.names, name) {
		return scheme + name, nil
	}
	return e.other.FindInPath(name, dirs)
}

// ExecPlugin does a plugin's work with this input and environment, and returns a plugin's output.
// It waits for the kernel, and for locks and programs as long as ctx allows; see [cni.Client.Call]. A
// plugin's error is a *types.Error, as it is when libcni executes one.
func (e *Exec) ExecPlugin(ctx context.Context, path string, stdin []byte, environ []string) ([]byte, error) {
	name, ours := strings.CutPrefix(path, scheme)
	if !ours {
		return e.other.ExecPlugin(ctx, path, stdin, environ)
	}
	out, err := e.client.Call(ctx, name, environment(environ).get, bytes.NewReader(stdin))
	var fault *cni.Error
	if errors.As(err, &fault) {
		return nil, &types.Error{Code: fault.Code, Msg: fault.Msg, Details: fault.Details}
	}
	return out, err
}

// Decode reads the answer to VERSION.
func (e *Exec) Decode(text []byte) (version.PluginInfo, error) { return e.other.Decode(text) }

// environment is a list of NAME=value, in the form of a process's environment.
type environment []string

// get returns the last value, as a shell and libcni do.
func (e environment) get(name string) string {
	for _, kv := range slices.Backward(e) {
		if value, ok := strings.CutPrefix(kv, name); ok && strings.HasPrefix(value, "=") {
			return value[1:]
		}
	}
	return ""
}
