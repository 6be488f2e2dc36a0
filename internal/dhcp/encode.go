// SPDX-License-Identifier: Apache-2.0

package dhcp

import (
	"encoding/binary"
	"math/bits"
)

// A call is two values of gob (encoding/gob, "Encoding Details"): the header of Go's net/rpc, and
// the arguments. Each is a message, and so is the definition of its type, which never changes. Gob
// compares types by their fields' names.

// The definitions' numbers. A stream may have any from 65 on.
const (
	headerType    = 65
	argumentsType = 66
)

// headerDefinition is that of rpc.Request: ServiceMethod, a string, and Seq, an uint.
const headerDefinition = "\x2f\xff\x81\x03\x01\x01\x07Request\x01\xff\x82\x00\x01\x02" +
	"\x01\rServiceMethod\x01\x0c\x00\x01\x03Seq\x01\x06\x00\x00\x00"

// argumentsDefinition is that of skel.CmdArgs: six strings, and bytes.
const argumentsDefinition = "\x6c\xff\x83\x03\x01\x01\x07CmdArgs\x01\xff\x84\x00\x01\x07" +
	"\x01\x0bContainerID\x01\x0c\x00\x01\x05Netns\x01\x0c\x00\x01\x06IfName\x01\x0c\x00\x01\x04Args\x01\x0c\x00" +
	"\x01\x04Path\x01\x0c\x00\x01\rNetnsOverride\x01\x0c\x00\x01\tStdinData\x01\n\x00\x00\x00"

// appendUint appends an unsigned number: itself if it's below 128, else the length in bytes,
// negated, and the bytes.
//
//go:noinline
func appendUint(b []byte, n uint64) []byte {
	if n < 1<<7 {
		return append(b, byte(n))
	}
	var all [8]byte
	binary.BigEndian.PutUint64(all[:], n)
	zeros := bits.LeadingZeros64(n) / 8
	return append(append(b, byte(zeros-8)), all[zeros:]...)
}

// appendMessage appends a struct of texts. An empty one is left out; each other begins with its
// distance from the one before.
func appendMessage(b []byte, id int, texts ...string) []byte {
	body := appendUint(nil, uint64(id)<<1) // a signed number, whose sign is the last bit
	last := -1
	for i, text := range texts {
		if text != "" {
			body = appendUint(body, uint64(i-last))
			body = append(appendUint(body, uint64(len(text))), text...)
			last = i
		}
	}
	body = append(body, 0)
	return append(appendUint(b, uint64(len(body))), body...)
}
