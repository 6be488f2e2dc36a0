// SPDX-License-Identifier: Apache-2.0

package inside

import (
	"runtime"

	"golang.org/x/sys/unix"
)

// socketOnThread is socket on a locked thread. The scheduler knows that it waits.
func socketOnThread(ns, own, protocol int, writes []Write) (fd int, err error) {
	runtime.LockOSThread()
	if err := unix.Setns(ns, unix.CLONE_NEWNET); err != nil {
		runtime.UnlockOSThread()
		return -1, syscallError("setns", err.(unix.Errno))
	}
	for i := range writes {
		writes[i].Err = writes[i].make()
	}
	fd, err = unix.Socket(unix.AF_NETLINK, unix.SOCK_RAW|unix.SOCK_CLOEXEC, protocol)
	if err != nil {
		err = syscallError("socket", err.(unix.Errno))
	}
	if back := unix.Setns(own, unix.CLONE_NEWNET); back != nil {
		panic(Lost{back})
	}
	runtime.UnlockOSThread()
	return fd, err
}

func (w *Write) make() error {
	fd, err := unix.Open(w.Path, unix.O_WRONLY|unix.O_CLOEXEC, 0)
	if err != nil {
		return failed("open", w.Path, err.(unix.Errno))
	}
	if w.Later {
		w.fd, w.open = fd, true
		return nil
	}
	defer unix.Close(fd)
	if _, err := unix.Write(fd, []byte(w.Value)); err != nil {
		return failed("write", w.Path, err.(unix.Errno))
	}
	return nil
}
