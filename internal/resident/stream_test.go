// SPDX-License-Identifier: Apache-2.0

package resident

import (
	"bytes"
	"io"
	"os"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// What a call reads is still in the caller's pipe afterwards, whether it was all there at once or
// came later. A text that is longer than a pipe is read none the less.
func TestInputIsKept(t *testing.T) {
	caller, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_SEQPACKET|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close(caller[0])
	defer unix.Close(caller[1])
	before := descriptorsOpen(t)
	for _, test := range []struct {
		name         string
		length, room int
		late, kept   bool
	}{
		{"short", 1000, 0, false, true},
		{"short, written later", 1000, 0, true, true},
		{"as long as the pipe", 64 << 10, 0, false, true},
		{"longer than a usual pipe", 100_000, 1 << 20, false, true},
		{"longer than the pipe", 100_000, 0, true, false},
		{"nothing", 0, 0, false, true},
	} {
		r, w, err := os.Pipe()
		if err != nil {
			t.Fatal(err)
		}
		if test.room > 0 {
			if _, err := unix.FcntlInt(r.Fd(), unix.F_SETPIPE_SZ, test.room); err != nil {
				t.Fatal(err)
			}
		}
		text := strings.Repeat("x", test.length)
		write := func() {
			if _, err := io.WriteString(w, text); err != nil {
				t.Error(err)
			}
			w.Close()
		}
		if test.late {
			time.AfterFunc(10*time.Millisecond, write)
		} else {
			write()
		}
		in := &input{fd: int(r.Fd()), caller: caller[0]}
		config, ok := in.kept()
		if !ok {
			t.Fatalf("%s: the caller is said to be gone", test.name)
		}
		if got, err := io.ReadAll(config); err != nil || string(got) != text {
			t.Errorf("%s: read %d bytes, %v, want %d", test.name, len(got), err, len(text))
		}
		want := text
		if !test.kept {
			want = ""
		}
		if left, err := io.ReadAll(r); err != nil || !bytes.Equal(left, []byte(want)) {
			t.Errorf("%s: %d bytes are left, %v, want %d", test.name, len(left), err, len(want))
		}
		r.Close()
	}
	if n := descriptorsOpen(t); n > before {
		t.Errorf("%d descriptors are open, %d before", n, before)
	}
}

// A text that's written word by word is read as a whole, also one that is longer than the pipe, and one
// whose writer takes its time. A caller that goes ends the wait.
func TestInputInPieces(t *testing.T) {
	for _, length := range []int{0, 20_000, 200_000} {
		caller, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_SEQPACKET|unix.SOCK_CLOEXEC, 0)
		if err != nil {
			t.Fatal(err)
		}
		r, w, err := os.Pipe()
		if err != nil {
			t.Fatal(err)
		}
		in := &input{fd: int(r.Fd()), caller: caller[0], pieces: true}
		go func(w *os.File) {
			for i := 0; i < length; i += 5 {
				if i == 10_000 {
					time.Sleep(3 * untilNextLook * time.Millisecond) // it begins to read then
				}
				if _, err := io.WriteString(w, "word "); err != nil {
					t.Error(err)
				}
			}
			w.Close()
		}(w)
		text, ok := in.whole()
		if !ok {
			t.Fatal("the caller is taken for gone")
		}
		if got, err := io.ReadAll(text); err != nil || string(got) != strings.Repeat("word ", length/5) {
			t.Errorf("of %d bytes it reads %d, %v", length, len(got), err)
		}
		r.Close()

		r, w, err = os.Pipe()
		if err != nil {
			t.Fatal(err)
		}
		if _, err := io.WriteString(w, "word "); err != nil {
			t.Fatal(err)
		}
		unix.Close(caller[1])
		in = &input{fd: int(r.Fd()), caller: caller[0], pieces: true}
		if _, ok := in.whole(); ok {
			t.Error("a caller that has gone is served")
		}
		r.Close()
		w.Close()
		unix.Close(caller[0])
	}
}
