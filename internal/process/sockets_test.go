// SPDX-License-Identifier: Apache-2.0

package process

import (
	"context"
	"errors"
	"testing"

	"github.com/swiftcni/swiftcni/internal/sockets"
	"github.com/swiftcni/swiftcni/internal/test/nstest"
	"github.com/swiftcni/swiftcni/rtnl"
)

func TestMain(m *testing.M) { nstest.Main(m) }

// The sockets of a call that succeeds in time are the next one's, and those of any other aren't.
func TestLend(t *testing.T) {
	var p sockets.Pool
	defer p.Close()
	used := func(ctx context.Context, ends func() error) (conn *rtnl.Conn) {
		defer func() { _ = recover() }()
		_ = Lend(ctx, &p, func(ctx context.Context) error {
			call := Of(ctx)
			var err error
			if conn, err = call.Route(); err != nil {
				t.Fatal(err)
			}
			defer call.CloseRoute(conn)
			return ends()
		})
		return conn
	}
	well := func() error { return nil }
	cancelled, cancel := context.WithCancel(t.Context())
	for _, test := range []struct {
		name string
		ctx  context.Context
		ends func() error
		kept bool
	}{
		{"well", t.Context(), well, true},
		{"an error", t.Context(), func() error { return errors.New("refused") }, false},
		{"a panic", t.Context(), func() error { panic("beyond repair") }, false},
		{"cancelled meanwhile", cancelled, func() error { cancel(); return nil }, false},
	} {
		first := used(test.ctx, test.ends)
		if second := used(t.Context(), well); (first == second) != test.kept {
			t.Errorf("%s: the socket is used again: %v, want %v", test.name, first == second, test.kept)
		}
	}
}
