// SPDX-License-Identifier: Apache-2.0

package main

import (
	"fmt"
	"os"
	"runtime"

	"golang.org/x/sys/unix"
)

// namespaces makes network namespaces, on one thread of its own.
type namespaces struct {
	requests chan string
	answers  chan error
}

// startNamespaces starts the thread.
func startNamespaces() (*namespaces, error) {
	n := &namespaces{requests: make(chan string), answers: make(chan error)}
	go func() {
		runtime.LockOSThread()
		home, err := unix.Open("/proc/thread-self/ns/net", unix.O_RDONLY|unix.O_CLOEXEC, 0)
		n.answers <- err
		if err != nil {
			return
		}
		for path := range n.requests {
			n.answers <- newNetNS(path, home)
		}
	}()
	return n, <-n.answers
}

// make makes a namespace that lives as long as its name, path, does.
func (n *namespaces) make(path string) error {
	// Requests and answers alternate, as the channels aren't buffered. The sender of a request
	// receives its answer, since the thread takes the next request only after that.
	n.requests <- path
	if err := <-n.answers; err != nil {
		return fmt.Errorf("new network namespace %s: %w", path, err)
	}
	return nil
}

// newNetNS leaves the thread at home, so that it doesn't keep the namespace alive.
func newNetNS(path string, home int) error {
	if err := unix.Unshare(unix.CLONE_NEWNET); err != nil {
		return err
	}
	defer func() {
		if err := unix.Setns(home, unix.CLONE_NEWNET); err != nil {
			panic(err) // the thread would make everything in the wrong place
		}
	}()
	if err := os.WriteFile(path, nil, 0o600); err != nil {
		return err
	}
	return unix.Mount("/proc/thread-self/ns/net", path, "", unix.MS_BIND, "")
}

// endNetNS removes the name. The namespace ends when nobody is inside any more. A lost mount leaves
// the plain file.
func endNetNS(path string, leaveFile bool) error {
	if err := unix.Unmount(path, unix.MNT_DETACH); err != nil {
		return fmt.Errorf("unmount %s: %w", path, err)
	}
	if leaveFile {
		return nil
	}
	return os.Remove(path)
}
