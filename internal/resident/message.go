// SPDX-License-Identifier: Apache-2.0

package resident

import (
	"bytes"
	"encoding/binary"
	"errors"

	"github.com/swiftcni/swiftcni/internal/handover"
	"github.com/swiftcni/swiftcni/internal/process"
)

// headerLen is the length of a message before its strings.
const headerLen = 8

// errMessage is the error about what isn't a message of the version that is known here.
var errMessage = errors.New("resident: not a message that is known here")

// A message is what a plugin was called with.
type message struct{ args, env []string }

// parse reads a message. The error is errMessage.
func parse(b []byte) (message, error) {
	if len(b) <= headerLen || len(b) > handover.MaxMessage || binary.NativeEndian.Uint32(b) != handover.Version || b[len(b)-1] != 0 {
		return message{}, errMessage
	}
	args := binary.NativeEndian.Uint32(b[4:])
	b = b[headerLen:]
	list := make([]string, 0, bytes.Count(b, []byte{0}))
	if args == 0 || uint64(args) > uint64(cap(list)) {
		return message{}, errMessage
	}
	for text := string(b); text != ""; {
		end := 0
		for text[end] != 0 {
			end++
		}
		list = append(list, text[:end])
		text = text[end+1:]
	}
	return message{args: list[:args:args], env: list[args:]}, nil
}

// getenv returns a variable of the environment, or "".
func (m *message) getenv(name string) string { return process.Getenv(m.env, name) }
