// SPDX-License-Identifier: Apache-2.0

// Package process is a call's knowledge of its process: how it ends, whether its steps are
// recorded, where plugins are, and who hears warnings. None of that is part of a network or of an
// attachment, so it travels in the call's context.
package process

import (
	"context"
	"io"
	"os"
	"path/filepath"

	"github.com/swiftcni/swiftcni/internal/calls"
	"github.com/swiftcni/swiftcni/internal/inside"
	"github.com/swiftcni/swiftcni/internal/offload"
	"github.com/swiftcni/swiftcni/internal/sockets"
)

// A Call is the context of one call. A nil one is an embedder's without options: the process goes
// on, nothing is recorded, and nobody hears warnings. All methods accept a nil Call.
type Call struct {
	context.Context // of the caller

	path   []string
	ends   *ending
	steps  *recording
	warn   func(string)
	caller *Caller
	loan   *sockets.Loan // of a program that keeps its sockets
}

// A Caller is another process, for which this one makes a call.
type Caller struct {
	Env    []string  // its environment
	Stderr io.Writer // its standard error
	Dir    string    // its working directory
	Exe    string    // a path of its executable, such as /proc/4711/exe
}

// key finds a Call among the values of a context.
type key struct{}

// Of returns the call that a context belongs to, or nil.
func Of(ctx context.Context) *Call {
	c, _ := ctx.Value(key{}).(*Call)
	return c
}

// Value makes the call known to all contexts that are derived from it. It also tells package rtnl
// how to send slow messages, and whether it may stop the process.
func (c *Call) Value(k any) any {
	switch k.(type) {
	case key:
		return c
	case inside.Alone:
		return c.ends != nil
	case inside.Home:
		if c.loan != nil {
			_, fd := c.loan.Home()
			return fd
		}
		return nil
	case offload.Key:
		if c.ends.offloads() {
			return offload.Sender(c.ends.send)
		}
		return nil
	}
	return c.Context.Value(k)
}

// OrBackground returns the call as a context, and for a nil Call the background.
func (c *Call) OrBackground() context.Context {
	if c == nil {
		return context.Background()
	}
	return c
}

// with returns a copy of the context's call, whose parent is the context.
func with(ctx context.Context) *Call {
	c := Call{}
	if outer := Of(ctx); outer != nil {
		c = *outer
	}
	c.Context = ctx
	return &c
}

// WithPath sets the directories in which the call looks for other plugins.
func WithPath(ctx context.Context, dirs []string) context.Context {
	c := with(ctx)
	c.path = dirs
	return c
}

// WithWarn sets the function that hears warnings, which don't make the call fail.
func WithWarn(ctx context.Context, warn func(string)) context.Context {
	c := with(ctx)
	c.warn = warn
	return c
}

// Options are the program's knowledge of its call.
type Options struct {
	Path []string     // CNI_PATH
	Warn func(string) // hears warnings, which don't make the call fail
	// Call is known of the call before it begins. It's recorded if recording is on.
	Call calls.Call
}

// Start begins the call of a process that ends with its answer. End and Finish follow.
func Start(ctx context.Context, o Options) *Call {
	return &Call{Context: ctx, path: o.Path, ends: &ending{}, steps: startRecording(o.Call, nil), warn: o.Warn}
}

// Record begins a call of a process that goes on. [Call.End] follows.
func Record(ctx context.Context, of calls.Call) *Call {
	c := with(ctx)
	c.steps = startRecording(of, nil)
	return c
}

// Serve begins a call of a process that goes on, for another process. [Call.End] follows.
func Serve(ctx context.Context, o Options, of Caller) *Call {
	tell, _ := ctx.Value(tellKey{}).(func(*calls.Told))
	c := &Call{Context: ctx, path: o.Path, steps: startRecording(o.Call, tell), warn: o.Warn, caller: &of}
	if outer := Of(ctx); outer != nil {
		c.loan = outer.loan
	}
	return c
}

// tellKey finds who hears of a call among the values of a context.
type tellKey struct{}

// WithTell lets a function hear of the calls that [Serve] begins, at the end of each, before its
// caller knows that. The function mustn't wait, and keeps what it's given.
func WithTell(ctx context.Context, tell func(*calls.Told)) context.Context {
	return context.WithValue(ctx, tellKey{}, tell)
}

// Heard reports whether anybody hears of the call at its end.
func (c *Call) Heard() bool { return c != nil && c.steps != nil && c.steps.tell != nil }

// Reclaimed notes that leases of so many attachments have ended, which were provably dead.
func (c *Call) Reclaimed(attachments int) {
	if c.Heard() {
		c.steps.of.Reclaimed += attachments
	}
}

// Environ is the environment of the call's process.
func (c *Call) Environ() []string {
	if c == nil || c.caller == nil {
		return os.Environ()
	}
	return c.caller.Env
}

// Stderr is the standard error of the call's process.
func (c *Call) Stderr() io.Writer {
	if c == nil || c.caller == nil {
		return os.Stderr
	}
	return c.caller.Stderr
}

// Dir is the working directory of the call's process, or "" if that's this one's.
func (c *Call) Dir() string {
	if c == nil || c.caller == nil {
		return ""
	}
	return c.caller.Dir
}

// Exe is a path of the executable of the call's process.
func (c *Call) Exe() string {
	if c == nil || c.caller == nil {
		return "/proc/self/exe"
	}
	return c.caller.Exe
}

// File returns a path as the call's process means it.
func (c *Call) File(path string) string {
	if c == nil || c.caller == nil || filepath.IsAbs(path) {
		return path
	}
	return filepath.Join(c.caller.Dir, path)
}

// Path lists the directories of plugins. The slice is the call's own and mustn't be changed.
func (c *Call) Path() []string {
	if c == nil {
		return nil
	}
	return c.path
}

// Warns reports whether anybody hears warnings.
func (c *Call) Warns() bool { return c != nil && c.warn != nil }

// Warn passes a warning to the caller.
func (c *Call) Warn(text string) {
	if c.Warns() {
		c.warn(text)
	}
}

// Enter ends the current step and begins another. A step that is entered again goes on.
func (c *Call) Enter(s calls.Step) {
	if c != nil {
		c.steps.enter(s)
	}
}

// Name sets the plugin and the network of the call. If the program's name isn't a plugin's, the
// plugin is the configuration's.
func (c *Call) Name(plugin, network string) {
	if c != nil {
		c.steps.name(plugin, network)
	}
}

// Lately reports whether attachments to a network have ended a moment ago. It looks only at the
// usual directory of leases.
func (c *Call) Lately(network string) bool { return c != nil && c.ends.lately(network) }

// End writes the recording and tells it, once the answer is given. code and message are an error's, or 0 and ""
// of a call that succeeded.
func (c *Call) End(code uint, message string) {
	if c == nil || c.steps == nil {
		return
	}
	c.steps.end(code, message)
	if c.ends == nil { // otherwise the process's end closes it
		c.steps.close()
	}
}

// Finish is the last thing before the process ends. No child then holds anything that the caller
// may remove or unmount next.
func (c *Call) Finish() { c.ends.finish() }
