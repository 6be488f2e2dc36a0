// SPDX-License-Identifier: Apache-2.0

package sha512

import (
	"bytes"
	"crypto/sha512"
	"testing"
)

func TestSumIsTheStandardLibrarys(t *testing.T) {
	for n := range 600 {
		data := bytes.Repeat([]byte{byte(n), 0x5a, byte(n >> 3)}, n/3+1)[:n]
		if got, want := Sum512(data), sha512.Sum512(data); got != want {
			t.Fatalf("%d bytes: %x, want %x", n, got, want)
		}
	}
}

func FuzzSum(f *testing.F) {
	f.Add([]byte("mynet"))
	f.Fuzz(func(t *testing.T, data []byte) {
		if Sum512(data) != sha512.Sum512(data) {
			t.Fatalf("%x", data)
		}
	})
}
