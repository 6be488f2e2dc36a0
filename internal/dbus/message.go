// SPDX-License-Identifier: Apache-2.0

package dbus

import (
	"encoding/binary"
	"errors"
	"io"
	"strconv"
	"strings"
)

// errMalformed is a message that no bus sends.
var errMalformed = errors.New("malformed message")

// Kinds of messages, and fields of their headers ("Message Format" in the specification).
const (
	methodCall   = 1
	methodReturn = 2
	failure      = 3

	fieldPath        = 1
	fieldInterface   = 2
	fieldMember      = 3
	fieldErrorName   = 4
	fieldReplySerial = 5
	fieldDestination = 6
	fieldSignature   = 8
)

const (
	// noAutoStart keeps the bus from starting a missing service.
	noAutoStart = 2
	// fixedLen is the part of the header before its fields, with their length.
	fixedLen = 16
	// maxMessage is far above any answer that matters here; the specification allows 128 MiB.
	maxMessage = 1 << 20
)

// encodeCall encodes a call in little-endian order, which is the sender's choice.
func encodeCall(serial uint32, m Method, args []string) []byte {
	var body []byte
	for _, a := range args {
		body = appendString(body, a)
	}
	b := []byte{'l', methodCall, noAutoStart, 1}
	b = binary.LittleEndian.AppendUint32(b, uint32(len(body)))
	b = binary.LittleEndian.AppendUint32(b, serial)
	b = binary.LittleEndian.AppendUint32(b, 0)
	b = appendField(b, fieldPath, "o", m.Path)
	b = appendField(b, fieldDestination, "s", m.Destination)
	b = appendField(b, fieldInterface, "s", m.Interface)
	b = appendField(b, fieldMember, "s", m.Member)
	if len(args) > 0 {
		b = appendField(b, fieldSignature, "g", strings.Repeat("s", len(args)))
	}
	binary.LittleEndian.PutUint32(b[fixedLen-4:], uint32(len(b)-fixedLen))
	return append(pad(b, 8), body...)
}

// appendField appends a header's field: a code and a variant, which says its type first.
func appendField(b []byte, code byte, typ, value string) []byte {
	b = append(pad(b, 8), code, 1, typ[0], 0)
	if typ == "g" {
		b = append(b, byte(len(value)))
		return append(append(b, value...), 0)
	}
	return appendString(b, value)
}

func appendString(b []byte, s string) []byte {
	b = binary.LittleEndian.AppendUint32(pad(b, 4), uint32(len(s)))
	return append(append(b, s...), 0)
}

func pad(b []byte, to int) []byte {
	for len(b)%to != 0 {
		b = append(b, 0)
	}
	return b
}

// An answer is the part of a message that matters here.
type answer struct {
	to        uint32 // the serial of the call that it answers; 0 is a signal or a call
	failed    bool
	errorName string
	text      string // the body's first string or boolean
}

// receive reads one message.
func (c *Conn) receive() (answer, error) {
	head := make([]byte, fixedLen)
	if _, err := io.ReadFull(c.socket, head); err != nil {
		return answer{}, err
	}
	d := decoder{order: binary.LittleEndian}
	if head[0] == 'B' {
		d.order = binary.BigEndian
	} else if head[0] != 'l' {
		return answer{}, errMalformed
	}
	body, fields := d.order.Uint32(head[4:]), d.order.Uint32(head[12:])
	if body > maxMessage || fields > maxMessage {
		return answer{}, errMalformed
	}
	start := fixedLen + int(fields+7)&^7
	b := append(head, make([]byte, start+int(body)-fixedLen)...)
	if _, err := io.ReadFull(c.socket, b[fixedLen:]); err != nil {
		return answer{}, err
	}
	return d.message(b, fixedLen+int(fields), start)
}

// A decoder walks a message. Offsets count from its beginning, as alignment does.
type decoder struct {
	order binary.ByteOrder
	b     []byte
	at    int
	bad   bool
}

// message decodes a whole message, whose fields end at one offset and whose body starts at another.
func (d *decoder) message(b []byte, end, start int) (answer, error) {
	a := answer{failed: b[1] == failure}
	d.b, d.at = b[:end], fixedLen
	signature := ""
	for d.align(8); d.at < end && !d.bad; d.align(8) {
		code, typ := d.byte(), d.signature()
		switch typ {
		case "s", "o":
			if s := d.string(); code == fieldErrorName {
				a.errorName = s
			}
		case "g":
			if s := d.signature(); code == fieldSignature {
				signature = s
			}
		case "u":
			if n := d.uint32(); code == fieldReplySerial {
				a.to = n
			}
		default:
			d.bad = true
		}
	}
	if b[1] != methodReturn && b[1] != failure {
		a.to = 0
	}
	d.b, d.at = b[start:], 0
	switch {
	case strings.HasPrefix(signature, "s"):
		a.text = d.string()
	case strings.HasPrefix(signature, "b"):
		a.text = strconv.FormatBool(d.uint32() != 0)
	}
	if d.bad {
		return a, errMalformed
	}
	return a, nil
}

func (d *decoder) align(to int) {
	d.at = (d.at + to - 1) / to * to
}

// take returns the next n bytes, or zeros if the message is too short for them.
func (d *decoder) take(n int) []byte {
	if d.bad || n > len(d.b) || d.at > len(d.b)-n {
		d.bad = true
		return make([]byte, min(n, 4))
	}
	d.at += n
	return d.b[d.at-n : d.at]
}

func (d *decoder) byte() byte { return d.take(1)[0] }

func (d *decoder) uint32() uint32 {
	d.align(4)
	return d.order.Uint32(d.take(4))
}

// string reads a text. Its length comes before it in four bytes, and a zero byte after it.
func (d *decoder) string() string {
	n := d.uint32()
	if n > maxMessage {
		d.bad = true
		return ""
	}
	s := string(d.take(int(n)))
	d.take(1)
	return s
}

// signature reads a text whose length is one byte.
func (d *decoder) signature() string {
	s := string(d.take(int(d.byte())))
	d.take(1)
	return s
}
