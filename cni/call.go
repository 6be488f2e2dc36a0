// SPDX-License-Identifier: Apache-2.0

package cni

import (
	"context"
	"io"
)

// Call is [Main] for a program that goes on afterwards and has no plugin started: it does what the environment and
// the configuration say, and returns what a plugin would print. Its error is an *Error. name is the plugin's.
//
// It may be called from many goroutines at once. The working directory, the standard streams and the environment of
// the process don't matter, except that a program that a network delegates to inherits the environment, but for its
// CNI variables. ctx bounds such programs. What a DEL leaves to the kernel, up to some 30 ms, is a goroutine's.
func Call(ctx context.Context, name string, getenv func(string) string, conf io.Reader) ([]byte, error) {
	c := call{name: name, getenv: getenv, stdin: conf}
	out, _, _, err := c.serve(ctx)
	if err != nil {
		return nil, asError(err)
	}
	return out, nil
}
