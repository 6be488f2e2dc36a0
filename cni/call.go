// SPDX-License-Identifier: Apache-2.0

package cni

import (
	"context"
	"io"

	"github.com/swiftcni/swiftcni/internal/fault"
	"github.com/swiftcni/swiftcni/internal/process"
)

// WithPath returns a context for calls that look for IPAM plugins in some directories, in their
// order: such as are programs of their own, which is all but host-local and static. Without it none
// is found. It's CNI_PATH of the call; the process's own environment isn't looked at. dirs is kept,
// and mustn't be changed.
func WithPath(ctx context.Context, dirs ...string) context.Context {
	return process.WithPath(ctx, dirs)
}

// Call is [Main] for a program that goes on afterwards and has no plugin started: it does what the
// environment and the configuration say, and returns what a plugin would print. Its error is an
// *Error. name is the plugin's.
//
// It may be called from many goroutines at once. The working directory, the standard streams and
// the environment of the process don't matter, except that a program that a network delegates to
// inherits the environment, but for its CNI variables. ctx bounds such programs. What a DEL leaves
// to the kernel, up to some 30 ms, is a goroutine's.
func Call(ctx context.Context, name string, getenv func(string) string, conf io.Reader) ([]byte, error) {
	r := request{name: name, getenv: getenv, stdin: conf}
	out, _, _, err := r.serve(process.WithPath(ctx, pathFromEnvironment(getenv)))
	if err != nil {
		return nil, fault.Of(err)
	}
	return out, nil
}
