// SPDX-License-Identifier: Apache-2.0

package offload

import "context"

// A Sender passes a message to the kernel on a netlink socket of the caller's, as [Send] does, and
// doesn't wait for that.
type Sender func(fd int, message []byte) error

// Key is by which a [Sender] is found among the values of a context: a call's whose process is
// about to end.
type Key struct{}

// SenderOf returns the sender of the call that a context belongs to, or nil: the process goes on.
func SenderOf(ctx context.Context) Sender {
	s, _ := ctx.Value(Key{}).(Sender)
	return s
}
