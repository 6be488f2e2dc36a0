// SPDX-License-Identifier: Apache-2.0

package dhcp

import (
	"errors"
	"io"
	"math/bits"
	"net/netip"
	"strconv"
	"strings"

	"github.com/swiftcni/swiftcni/internal/jsontext"
)

// Bounds of an answer. A server has 255 bytes for its routes, and few of them have more.
const (
	maxAnswer = 256 << 10 // bytes
	maxTypes  = 128
	maxDepth  = 16 // of lists and structs in one another
)

var errMalformed = errors.New("the answer isn't gob")

// signed reads a number whose sign is the last bit.
func signed(n uint64) int {
	if n&1 != 0 {
		return int(^(n >> 1))
	}
	return int(n >> 1)
}

// A typ is a type that's made of others.
type typ struct {
	id, kind  int
	key, elem int // the types of a map's keys, and of what's in an array, a slice or a map
	fields    []field
}

type field struct {
	name string
	typ  int
}

// Numbers of types that need no definition (encoding/gob, type.go).
const (
	typeBool = 1 + iota
	typeInt
	typeUint
	typeFloat
	typeBytes
	typeString
)

// firstType is the first number of a type that needs a definition.
const firstType = 64

// Kinds of types, by their place in a definition. Those that follow are of values that write
// themselves, as bytes.
const (
	kindArray = 1 + iota
	kindSlice
	kindStruct
	kindMap
	kindsEnd = 8
)

// A decoder reads a stream of gob's values.
type decoder struct {
	from  io.Reader
	read  []byte // and not yet taken
	total int
	types []typ

	msg []byte // the rest of a message
	bad bool   // it ended early
}

// more reads what is there, which is something.
func (d *decoder) more() error {
	var b [4096]byte
	n, err := d.from.Read(b[:])
	d.read = append(d.read, b[:n]...)
	switch d.total += n; {
	case d.total > maxAnswer:
		return errMalformed
	case n > 0:
		return nil
	case err == io.EOF:
		return io.ErrUnexpectedEOF
	}
	return err
}

// next reads a value, and the definitions before it. What's needed of it is returned as JSON.
func (d *decoder) next() ([]byte, error) {
	for {
		if err := d.message(); err != nil {
			return nil, err
		}
		w := jsontext.NewWriter(nil)
		id := d.int()
		if id < 0 {
			d.define(-id)
		} else {
			if t := d.find(id); t == nil || t.kind != kindStruct {
				d.bad = d.bad || d.uint() != 0
			}
			d.value(w, id, 0)
		}
		if d.bad || len(d.msg) > 0 {
			return nil, errMalformed
		}
		if id >= 0 {
			return w.Bytes(), nil
		}
	}
}

// message takes one from the stream.
func (d *decoder) message() error {
	for {
		d.msg, d.bad = d.read, false
		n := d.uint()
		switch {
		case d.bad && len(d.read) > 8 || !d.bad && n > maxAnswer:
			return errMalformed
		case !d.bad && n <= uint64(len(d.msg)):
			d.msg, d.read = d.msg[:n], d.msg[n:]
			return nil
		}
		if err := d.more(); err != nil {
			return err
		}
	}
}

// take is a message's next bytes.
//
//go:noinline
func (d *decoder) take(n uint64) (b []byte) {
	if n > uint64(len(d.msg)) {
		d.bad, d.msg = true, nil
		return nil
	}
	b, d.msg = d.msg[:n], d.msg[n:]
	return b
}

// text is bytes, after their number.
func (d *decoder) text() []byte { return d.take(d.uint()) }

func (d *decoder) int() int { return signed(d.uint()) }

// uint is the reverse of appendUint.
func (d *decoder) uint() (n uint64) {
	length := uint64(1)
	if len(d.msg) > 0 && d.msg[0] >= 1<<7 {
		if length = uint64(-d.take(1)[0]); length > 8 {
			length = maxAnswer // which isn't there
		}
	}
	for _, b := range d.take(length) {
		n = n<<8 | uint64(b)
	}
	return n
}

// find finds a type that was defined, or nil.
func (d *decoder) find(id int) *typ {
	for i := range d.types {
		if d.types[i].id == id {
			return &d.types[i]
		}
	}
	return nil
}

// each goes through a struct's fields, each of which begins with its distance from the one before.
// A distance of 0 ends it.
func (d *decoder) each(fields int, do func(i int)) {
	for at := -1; ; {
		n := d.uint()
		if n == 0 || d.bad {
			return
		}
		if n > uint64(fields-1-at) {
			d.bad = true
			return
		}
		at += int(n)
		do(at)
	}
}

// define reads the definition of a number's type.
func (d *decoder) define(id int) {
	t := typ{id: id}
	d.each(kindsEnd-1, func(i int) {
		d.bad = d.bad || t.kind != 0
		t.kind = i + 1
		d.each(3, func(i int) {
			switch {
			case i == 0:
				d.named()
			case t.kind == kindStruct:
				for n := d.uint(); n > 0 && !d.bad; n-- {
					t.fields = append(t.fields, d.named())
				}
			case t.kind == kindMap && i == 1:
				t.key = d.int()
			case t.kind == kindArray && i == 2: // its length
				d.int()
			default:
				t.elem = d.int()
			}
		})
	})
	if t.kind == 0 || len(d.types) == maxTypes || id < firstType || d.find(id) != nil {
		d.bad = true
	}
	d.types = append(d.types, t)
}

// named reads a name with a number: a field with its type's, or the type itself.
func (d *decoder) named() (f field) {
	d.each(2, func(i int) {
		if i == 0 {
			f.name = string(d.text())
		} else {
			f.typ = d.int()
		}
	})
	return f
}

// value reads a value of a type, and writes it as JSON.
func (d *decoder) value(w *jsontext.Writer, id, depth int) {
	switch t := d.find(id); {
	case d.bad || depth > maxDepth:
		d.bad = true
	case id >= typeBool && id <= typeFloat:
		n := d.uint()
		if id == typeInt {
			n = uint64(signed(n))
		}
		w.Num(int(n))
	case id == typeBytes:
		w.Str(address(d.text(), nil))
	case id == typeString || t != nil && t.kind > kindMap:
		w.Str(string(d.text()))
	case t == nil: // a complex number, or an interface
		d.bad = true
	case t.kind == kindStruct && len(t.fields) == 2 && t.fields[1].name == "Mask":
		d.prefix(w)
	case t.kind == kindStruct:
		w.Open('{')
		d.each(len(t.fields), func(i int) {
			f, to := t.fields[i], w
			if !isRead(f.name) {
				to = jsontext.NewWriter(nil)
			}
			d.value(to.Key(f.name), f.typ, depth+1)
		})
		w.Close('}')
	default:
		w.Open('[')
		for n := d.uint(); n > 0 && !d.bad; n-- {
			if t.kind == kindMap {
				d.value(w.Item(), t.key, depth+1)
			}
			d.value(w.Item(), t.elem, depth+1)
		}
		w.Close(']')
	}
}

// isRead reports whether a field of types100.Result of libcni, or of what it consists of, has a
// meaning here. In JSON they have the same names, but for their case. Error is the header's.
func isRead(name string) bool {
	return strings.Contains(" IPs Address Gateway Routes Dst GW MTU AdvMSS Priority Table Scope DNS Nameservers Domain Search Options Error ", " "+name+" ")
}

// prefix reads a net.IPNet.
func (d *decoder) prefix(w *jsontext.Writer) {
	var of [2][]byte
	d.each(2, func(i int) { of[i] = d.text() })
	w.Str(address(of[0], of[1]))
}

// address is a net.IP's text, with the length of a mask. That of none, and of one that's wrong, is
// no address's.
func address(ip, mask []byte) string {
	a, _ := netip.AddrFromSlice(ip)
	text := a.Unmap().String()
	if mask == nil {
		return text
	}
	ones, all := 0, true
	for _, b := range mask {
		n := bits.LeadingZeros8(^b)
		if b<<n != 0 || !all && n > 0 {
			return ""
		}
		ones, all = ones+n, n == 8
	}
	return text + "/" + strconv.Itoa(ones)
}
