// SPDX-License-Identifier: Apache-2.0

package main

import "testing"

func TestEchoRequestChecksum(t *testing.T) {
	for _, id := range []uint16{0, 1, 0xf7fe, 0xffff} {
		for _, number := range []uint16{1, 0x7ff, 0xffff} {
			sum := uint32(0)
			for p := echoRequest(false, id, number); len(p) > 0; p = p[2:] {
				sum += uint32(p[0])<<8 | uint32(p[1])
			}
			if sum = sum>>16 + sum&0xffff; uint16(sum>>16+sum) != 0xffff {
				t.Errorf("%#x, %#x: the words add up to %#x, want 0xffff", id, number, sum)
			}
		}
	}
}

func TestIsReply(t *testing.T) {
	header := append([]byte{0x46}, make([]byte, 23)...) // with an option
	for _, tt := range []struct {
		what   string
		packet []byte
		six    bool
		want   bool
	}{
		{"IPv4", append(header, 0, 0, 1, 2, 0, 7, 0, 3), false, true},
		{"IPv6", []byte{129, 0, 1, 2, 0, 7, 0, 3}, true, true},
		{"a request", append(header, 8, 0, 1, 2, 0, 7, 0, 3), false, false},
		{"IPv6's request", []byte{128, 0, 1, 2, 0, 7, 0, 3}, true, false},
		{"another question's", []byte{129, 0, 1, 2, 0, 6, 0, 3}, true, false},
		{"cut", header[:21], false, false},
		{"empty", nil, false, false},
	} {
		if got := isReply(tt.packet, tt.six, 7); got != tt.want {
			t.Errorf("%s: %v", tt.what, got)
		} else if got && number(tt.packet, tt.six) != 3 {
			t.Errorf("%s: number %d", tt.what, number(tt.packet, tt.six))
		}
	}
}
