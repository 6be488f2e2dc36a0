// SPDX-License-Identifier: Apache-2.0

// Package process is what a call knows of the process that makes it: how it ends, whether its steps
// are recorded, where plugins are, and who hears warnings. None of that is part of a network or of
// an attachment, so it travels in the call's context.
package process

import (
	"context"

	"github.com/swiftcni/swiftcni/internal/calls"
	"github.com/swiftcni/swiftcni/internal/inside"
	"github.com/swiftcni/swiftcni/internal/offload"
	"github.com/swiftcni/swiftcni/nft"
)

// A Call is the context of one call. A nil one is an embedder's, who has said nothing: the process
// goes on, nothing is recorded, and nobody hears warnings. All methods take a nil Call.
type Call struct {
	context.Context // of the caller

	path  []string
	ends  *ending
	steps *recording
	warn  func(string)
}

// key is by which a Call is found among the values of a context.
type key struct{}

// Of returns the call that a context belongs to, or nil.
func Of(ctx context.Context) *Call {
	c, _ := ctx.Value(key{}).(*Call)
	return c
}

// Value makes the call known to all contexts that are made of it, and to package rtnl how to send
// what takes long and whether it may stop the process.
func (c *Call) Value(k any) any {
	switch k.(type) {
	case key:
		return c
	case inside.Alone:
		return c.ends != nil
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

// WithPath says where the call looks for other plugins.
func WithPath(ctx context.Context, dirs []string) context.Context {
	c := with(ctx)
	c.path = dirs
	return c
}

// WithWarn says who hears of what doesn't make the call fail.
func WithWarn(ctx context.Context, warn func(string)) context.Context {
	c := with(ctx)
	c.warn = warn
	return c
}

// Options are what the program knows of its call.
type Options struct {
	Path []string     // CNI_PATH
	Warn func(string) // hears what doesn't make the call fail
	Call calls.Call   // what is known of it before it begins: it's recorded if somebody asked for that
}

// Start begins the call of a process that ends with its answer. End and Finish follow.
func Start(ctx context.Context, o Options) *Call {
	return &Call{Context: ctx, path: o.Path, ends: &ending{}, steps: startRecording(o.Call), warn: o.Warn}
}

// Record begins a call of a process that goes on. [Call.End] follows.
func Record(ctx context.Context, of calls.Call) *Call {
	c := with(ctx)
	c.steps = startRecording(of)
	return c
}

// Path is where plugins are looked for. The slice is the call's own and mustn't be changed.
func (c *Call) Path() []string {
	if c == nil {
		return nil
	}
	return c.path
}

// Warns reports whether anybody hears warnings.
func (c *Call) Warns() bool { return c != nil && c.warn != nil }

// Warn tells the caller of what doesn't make the call fail.
func (c *Call) Warn(text string) {
	if c.Warns() {
		c.warn(text)
	}
}

// Enter ends the step that's under way and begins one. A step that is entered again goes on.
func (c *Call) Enter(s calls.Step) {
	if c != nil {
		c.steps.enter(s)
	}
}

// Name says what is called. A program that's called by a name that isn't a plugin's is the one that
// the configuration names.
func (c *Call) Name(plugin, network string) {
	if c != nil {
		c.steps.name(plugin, network)
	}
}

// Lately reports whether attachments to a network have ended a moment ago, as far as can be told
// where leases usually are.
func (c *Call) Lately(network string) bool { return c != nil && c.ends.lately(network) }

// Close closes a socket of nftables. gone says that elements may have gone lately.
func (c *Call) Close(conn *nft.Conn, gone bool) {
	var ends *ending
	if c != nil {
		ends = c.ends
	}
	ends.close(conn, gone)
}

// End writes the recording, once the answer is given. code and message are an error's, 0 and "" of
// a call that succeeded.
func (c *Call) End(code uint, message string) {
	if c == nil || c.steps == nil {
		return
	}
	c.steps.end(code, message)
	if c.ends == nil { // else the process's end closes it
		c.steps.to.Close()
	}
}

// Finish is the last thing before the process ends. Whatever its caller removes or unmounts next is
// no child's any more.
func (c *Call) Finish() { c.ends.finish() }
