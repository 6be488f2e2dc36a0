// SPDX-License-Identifier: Apache-2.0

package offload

import "context"

// A Sender passes a message to the kernel on the caller's netlink socket, as [Send] does, and
// doesn't wait for that.
type Sender func(fd int, message []byte) error

// Key finds a [Sender] among the values of a context. The Sender belongs to a call whose process is
// about to end.
type Key struct{}

// SenderOf returns the sender of the call that a context belongs to. It's nil if the process goes
// on.
func SenderOf(ctx context.Context) Sender {
	s, _ := ctx.Value(Key{}).(Sender)
	return s
}
