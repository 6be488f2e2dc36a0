// SPDX-License-Identifier: Apache-2.0

package nlsock

import (
	"encoding/binary"
	"errors"
	"testing"
	"time"

	"github.com/mdlayher/netlink"
	"golang.org/x/sys/unix"
)

// message builds a message that claims a length.
func message(length int, typ netlink.HeaderType, data ...byte) []byte {
	b := make([]byte, headerLen, headerLen+len(data))
	binary.NativeEndian.PutUint32(b, uint32(length))
	binary.NativeEndian.PutUint16(b[4:], uint16(typ))
	binary.NativeEndian.PutUint16(b[6:], uint16(netlink.AcknowledgeTLVs))
	binary.NativeEndian.PutUint32(b[8:], 7)
	return append(b, data...)
}

func TestParse(t *testing.T) {
	for _, test := range []struct {
		name string
		in   []byte
		data int // length of what's parsed
		rest int
		want error
	}{
		{"whole", message(20, 16, 1, 2, 3, 4), 4, 0, nil},
		{"padded", append(message(18, 16, 1, 2), 0, 0, 9), 2, 1, nil},
		{"padding cut", message(18, 16, 1, 2), 2, 0, nil},
		{"short header", message(20, 16)[:15], 0, 0, unix.EBADMSG},
		{"length below the header's", message(15, 16, 1), 0, 0, unix.EBADMSG},
		{"cut", message(64, 16, 1, 2, 3, 4), 0, 0, unix.EMSGSIZE},
		{"refusal cut in its quote", message(64, netlink.Error, 1, 2, 3, 4), 4, 0, nil},
		{"refusal cut in its number", message(64, netlink.Error, 1, 2, 3), 0, 0, unix.EMSGSIZE},
	} {
		m, rest, err := Parse(test.in)
		if err != test.want || len(m.Data) != test.data || len(rest) != test.rest {
			t.Errorf("%s: data %d, rest %d, %v; want %d, %d, %v", test.name, len(m.Data), len(rest), err, test.data, test.rest, test.want)
		}
		if err == nil && m.Header.Sequence != 7 {
			t.Errorf("%s: header %+v", test.name, m.Header)
		}
	}
	if m, _, _ := Parse(message(64, netlink.Error, 1, 2, 3, 4)); m.Header.Flags&netlink.AcknowledgeTLVs != 0 {
		t.Error("a cut refusal still promises a text")
	}
}

// FuzzParse: whatever comes, a walk over a datagram ends, and stays in it.
func FuzzParse(f *testing.F) {
	f.Add(append(message(20, 16, 1, 2, 3, 4), message(64, netlink.Error, 1, 2, 3, 4)...))
	f.Add(message(18, 16, 1, 2))
	f.Fuzz(func(t *testing.T, b []byte) {
		for len(b) > 0 {
			m, rest, err := Parse(b)
			if err != nil {
				return
			}
			if len(rest) >= len(b) || len(m.Data)+len(rest)+headerLen > len(b) {
				t.Fatalf("data %d and rest %d of %d", len(m.Data), len(rest), len(b))
			}
			b = rest
		}
	})
}

func TestSocket(t *testing.T) {
	s, err := Open(unix.NETLINK_ROUTE)
	if err != nil {
		t.Fatal(err)
	}
	if err := s.SetReceiveTimeout(20 * time.Millisecond); err != nil {
		t.Fatal(err)
	}
	start := time.Now()
	if _, err := s.Receive(); !errors.Is(err, unix.EAGAIN) || time.Since(start) < 10*time.Millisecond {
		t.Errorf("nothing to receive: %v after %v", err, time.Since(start))
	}
	// Two refusals are two datagrams; drained, nothing is left.
	m := netlink.Message{Header: netlink.Header{Type: unix.RTM_GETLINK, Flags: netlink.Request}, Data: make([]byte, 3)}
	for range 2 {
		if err := s.SendMessages([]netlink.Message{m, m}); err != nil {
			t.Fatal(err)
		}
		ms, err := s.Receive()
		if err != nil || len(ms) != 1 || ms[0].Header.Type != netlink.Error {
			t.Fatalf("got %+v %v", ms, err)
		}
		s.Drain()
		if _, err := s.Receive(); !errors.Is(err, unix.EAGAIN) {
			t.Errorf("after a drain: %v", err)
		}
	}
	if err := s.Close(); err != nil {
		t.Error(err)
	}
	if err := s.Close(); !errors.Is(err, unix.EBADF) {
		t.Errorf("second close: %v", err)
	}
}
