// SPDX-License-Identifier: Apache-2.0

//go:build linux && (amd64 || arm64)

// Package offload leaves a slow system call to a process that outlives this one.
//
// Deleting a link keeps its sender in the kernel for an RCU barrier of 15 to 35 ms after the link
// is gone. A process that exits meanwhile would still have to wait. So another process makes the
// call: a child that shares this one's memory (clone(2) with CLONE_VM). It has no stack frames, no
// Go and no libc, and makes only raw system calls. A fork would copy page tables, and executing a
// program would start one.
//
// A child is born with a copy of every descriptor and with this process's working directory. It
// gives up both before anything else, except the sockets that it's there for. Otherwise an open
// namespace couldn't be unmounted, nor could a working directory.
package offload

import (
	"slices"
	"strings"
	"sync/atomic"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

// request is the input of the child. Its layout is known to the assembly.
type request struct {
	fd      uintptr
	message uintptr
	length  uintptr
	addr    uintptr // struct sockaddr_nl
	all     uint64  // signal mask that blocks all
	saved   uint64  // the caller's mask
	// number is the system call's. The call gets the first four fields as its first, second, third
	// and fifth argument.
	number uintptr
	until  unix.Timespec // of CLOCK_MONOTONIC: when the child ends; zero is at once
	// holding is 1 until the child has given up its copies or is dead. Waiters are told (futex(2)).
	holding uint32
	root    [4]byte // "/"
	gaps    [maxKept + 2]gap
}

// A gap is a range of descriptors that the child closes. The last one ends before it begins.
type gap struct{ first, last uint32 }

const (
	pageSize   = 4096
	messageAt  = 256 // after the request and an address
	maxMessage = pageSize/2 - messageAt
	maxKept    = 15 // descriptors; more aren't kept
)

// clone blocks all signals, starts the child on a stack, and restores the mask. The child closes
// the gaps, so that nobody waits for it at a pipe. It goes to the root directory, and says that it
// has given up its copies. It makes its system call, sleeps until its time has come, and exits
// without telling its parent.
//
//go:noescape
func clone(stack uintptr, r *request) (pid int)

// Closing a descriptor of nfnetlink waits for the memory of all elements that any program removed
// shortly before. That is an RCU grace period of some 10 ms, in which no transaction can start
// (nft_rcv_nl_event, net/netfilter/nf_tables_api.c). Children that close theirs at the same time
// share one such wait.
const (
	step  = 64 * time.Millisecond
	least = 20 * time.Millisecond // longer than a plugin takes to end
)

// UntilStep is how long to keep such a descriptor: between 20 and 84 ms, until a moment that is the
// same for all callers.
func UntilStep() time.Duration { return untilStep(time.Now().UnixNano()) }

func untilStep(now int64) time.Duration {
	return time.Duration(((now+int64(least))/int64(step)+1)*int64(step) - now)
}

// A Child is a process that was started here.
type Child struct{ request *request }

// Send passes a message to the kernel on a netlink socket and returns at once, while a child is in
// sendto(2). The child gives up its copies first. So a caller that sees the kernel act on the
// message needn't [Child.Wait]. Sockets to keep stay open for [UntilStep], as for [Linger].
func Send(fd int, message []byte, keep ...int) (Child, error) {
	if len(message) > maxMessage {
		return Child{}, unix.EMSGSIZE
	}
	return start(append([]int{fd}, keep...), len(keep) > 0, func(page []byte, r *request) {
		const addrAt = messageAt - unix.SizeofSockaddrNetlink
		*(*uint16)(unsafe.Pointer(&page[addrAt])) = unix.AF_NETLINK
		copy(page[messageAt:], message)
		r.number, r.fd, r.length = unix.SYS_SENDTO, uintptr(fd), uintptr(len(message))
		r.message, r.addr = uintptr(unsafe.Pointer(&page[messageAt])), uintptr(unsafe.Pointer(&page[addrAt]))
	})
}

// Linger leaves a child that keeps sockets open for [UntilStep]. The process that closes a socket
// last waits for the kernel's work.
func Linger(keep ...int) (Child, error) {
	return start(keep, true, func(_ []byte, r *request) { r.number = unix.SYS_GETPID })
}

// start starts a child with a request that fill completes, in a page that belongs to the child for
// ever.
func start(keep []int, lasting bool, fill func(page []byte, r *request)) (Child, error) {
	// This memory is never freed or moved: request, address and message are at its beginning, and
	// the stack is at its end.
	page, err := unix.Mmap(-1, 0, pageSize, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_PRIVATE|unix.MAP_ANONYMOUS)
	if err != nil {
		return Child{}, err
	}
	base := unsafe.Pointer(unsafe.SliceData(page))
	r := (*request)(base)
	r.all, r.holding, r.root[0] = ^uint64(0), 1, '/'
	r.closeBut(keep)
	if lasting {
		_ = unix.ClockGettime(unix.CLOCK_MONOTONIC, &r.until) // it has this clock
		r.until = unix.NsecToTimespec(r.until.Nano() + int64(untilStep(r.until.Nano())))
	}
	fill(page, r)
	if pid := clone(uintptr(base)+pageSize-16, r); pid < 0 {
		_ = unix.Munmap(page)
		return Child{}, unix.Errno(-pid)
	}
	return Child{r}, nil
}

// closeBut sets the gaps around the descriptors to keep.
func (r *request) closeBut(keep []int) {
	keep = slices.Sorted(slices.Values(keep[:min(len(keep), maxKept)]))
	n, next := 0, uint32(0)
	for _, fd := range keep {
		if uint32(fd) > next {
			r.gaps[n] = gap{next, uint32(fd) - 1}
			n++
		}
		next = uint32(fd) + 1
	}
	r.gaps[n], r.gaps[n+1] = gap{next, ^uint32(0)}, gap{1, 0}
}

// Wait returns once the child holds nothing of this process any more, except the sockets to keep.
// If that is so already, it costs no system call.
func (c Child) Wait() {
	for holding := &c.request.holding; atomic.LoadUint32(holding) != 0; {
		// It isn't FUTEX_PRIVATE_FLAG: the kernel wakes for a child that was killed, and doesn't
		// set that flag.
		_, _, _ = unix.Syscall6(unix.SYS_FUTEX, uintptr(unsafe.Pointer(holding)), futexWait, 1, 0, 0, 0)
	}
}

const futexWait = 0 // FUTEX_WAIT (linux/futex.h)

// Reaped reports whether PID 1, which inherits orphans, is known as an init that reaps them. Under
// any other, such as a container's main program or a machine's agent, each child would stay as a
// zombie.
func Reaped() bool {
	fd, err := unix.Open("/proc/1/comm", unix.O_RDONLY|unix.O_CLOEXEC, 0)
	if err != nil {
		return false
	}
	defer unix.Close(fd)
	var b [32]byte
	n, _ := unix.Read(fd, b[:])
	return slices.Contains(inits[:], strings.TrimSpace(string(b[:max(n, 0)])))
}

// inits are the programs that reap all their children, by their comm.
var inits = [...]string{"systemd", "init", "tini", "docker-init", "dumb-init", "catatonit", "podman-init", "s6-svscan", "runit", "openrc-init", "pause"}
