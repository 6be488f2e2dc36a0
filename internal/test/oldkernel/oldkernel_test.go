// SPDX-License-Identifier: Apache-2.0

package oldkernel

import (
	"testing"

	"golang.org/x/sys/unix"
)

// Each call is refused, and the same call with another argument isn't.
func TestRefuses(t *testing.T) {
	for _, k := range []Kernel{Kernel(unix.ENOSYS), Kernel(unix.EPERM)} {
		err := k.Run(func() {
			for _, c := range Calls {
				want := c.Errno
				if want == 0 {
					want = unix.Errno(k)
				}
				if got := call(c, 0); got != want {
					t.Errorf("kernel %d: call %d %v: %v, want %v", k, c.Number, c.Where, got, want)
				}
				for i := range c.Where {
					if got := call(c, i+1); got != unix.EBADF {
						t.Errorf("kernel %d: call %d %v with another argument: %v, want %v", k, c.Number, c.Where, got, unix.EBADF)
					}
				}
			}
		})
		if err != nil {
			t.Fatal(err)
		}
	}
}

// call makes a call for a descriptor that isn't open. If other isn't 0, that condition doesn't hold.
func call(c Call, other int) unix.Errno {
	args := [6]uintptr{^uintptr(0)}
	for i, a := range c.Where {
		args[a.Place] = uintptr(a.Value)
		if i+1 == other {
			args[a.Place]++
		}
	}
	_, _, errno := unix.RawSyscall6(uintptr(c.Number), args[0], args[1], args[2], args[3], args[4], args[5])
	return errno
}

// What a program does on a newer kernel goes on elsewhere: the filter is a thread's.
func TestOtherThreadsAreAsTheyWere(t *testing.T) {
	err := Kernel(unix.ENOSYS).Run(func() {
		done := make(chan unix.Errno)
		go func() { done <- call(Call{Number: unix.SYS_CLOSE_RANGE}, 0) }()
		if errno := <-done; errno == unix.ENOSYS {
			t.Error("another thread is filtered")
		}
	})
	if err != nil {
		t.Fatal(err)
	}
}
