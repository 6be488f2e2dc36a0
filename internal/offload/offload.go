// SPDX-License-Identifier: Apache-2.0

//go:build linux && (amd64 || arm64)

// Package offload leaves a slow system call to a process that outlives this one.
//
// Deleting a link keeps its sender in the kernel for an RCU barrier of 15 to 35 ms after the link is gone.
// A plugin's process that ended meanwhile would be waited for all the same, so the call must be another
// process's: a child that shares this one's memory (clone(2) with CLONE_VM), has no stack frames, no Go and no
// libc, and makes raw system calls alone. A fork would copy page tables, and executing a program would start one.
//
// A child is born with a copy of every descriptor and with this process's working directory. It lets go of both before
// anything else, but for the sockets that it's there for: an open namespace can't be unmounted, and a directory that
// somebody works in can't either.
package offload

import (
	"slices"
	"strings"
	"sync/atomic"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

// request is what the child reads; its layout is known to the assembly.
type request struct {
	fd      uintptr
	message uintptr
	length  uintptr
	addr    uintptr       // struct sockaddr_nl
	all     uint64        // signal mask that blocks all
	saved   uint64        // the caller's mask
	number  uintptr       // of the system call, which gets the first four as its first, second, third and fifth
	until   unix.Timespec // of CLOCK_MONOTONIC: when the child ends; zero is at once
	holding uint32        // 1 until the child has let go or is dead, which is told to those who wait (futex(2))
	root    [4]byte       // "/"
	gaps    [maxKept + 2]gap
}

// A gap is a range of descriptors that the child closes. The last one ends before it begins.
type gap struct{ first, last uint32 }

const (
	pageSize   = 4096
	messageAt  = 256 // behind the request and an address
	maxMessage = pageSize/2 - messageAt
	maxKept    = 15 // descriptors; more aren't kept
)

// clone blocks all signals, starts the child on a stack, and restores the mask. The child closes the gaps, so that nobody
// waits for it at a pipe, goes to the root directory, says that it has let go, makes its system call, sleeps until its time
// has come, and exits without telling its parent.
//
//go:noescape
func clone(stack uintptr, r *request) (pid int)

// A descriptor of nfnetlink that's closed waits for the memory of all elements that went shortly before, by whomever, an
// RCU grace period of some 10 ms, and lets no transaction in meanwhile (nft_rcv_nl_event,
// net/netfilter/nf_tables_api.c). Children that close theirs all at the same time cost one such wait together.
const (
	step  = 64 * time.Millisecond
	least = 20 * time.Millisecond // longer than a plugin takes to end
)

// UntilStep is how long to keep such a descriptor: between 20 and 84 ms, until a moment that is the same for all who ask.
func UntilStep() time.Duration { return untilStep(time.Now().UnixNano()) }

func untilStep(now int64) time.Duration {
	return time.Duration(((now+int64(least))/int64(step)+1)*int64(step) - now)
}

// A Child is a process that was started here.
type Child struct{ request *request }

// Send passes a message to the kernel on a netlink socket and returns at once, while a child is in sendto(2). It lets go
// first, so whoever sees the kernel act on the message needn't [Child.Wait]. Sockets that are to be kept stay open
// for [UntilStep], as [Linger]'s.
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

// Linger leaves a child that keeps sockets open for [UntilStep]: who closes a socket last waits for what the kernel does
// then.
func Linger(keep ...int) (Child, error) {
	return start(keep, true, func(_ []byte, r *request) { r.number = unix.SYS_GETPID })
}

// start starts a child with a request that fill completes, in a page that's the child's for good.
func start(keep []int, lasting bool, fill func(page []byte, r *request)) (Child, error) {
	// Memory that nothing here ever frees or moves: request, address and message below, the stack above them.
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

// closeBut sets the gaps around the descriptors that are kept.
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

// Wait returns once the child holds nothing of this process's any more, but for the sockets that it was left. It costs no
// system call where that's so already.
func (c Child) Wait() {
	for holding := &c.request.holding; atomic.LoadUint32(holding) != 0; {
		// Not FUTEX_PRIVATE_FLAG: the kernel, which wakes for a child that was killed, doesn't set it.
		_, _, _ = unix.Syscall6(unix.SYS_FUTEX, uintptr(unsafe.Pointer(holding)), futexWait, 1, 0, 0, 0)
	}
}

const futexWait = 0 // FUTEX_WAIT (linux/futex.h)

// Reaped reports whether PID 1, which inherits orphans, is known as an init that reaps them. Under any other,
// a container's main program or a machine's agent, each child would stay as a zombie.
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

// inits are the programs that reap whatever they inherit, by their comm.
var inits = [...]string{"systemd", "init", "tini", "docker-init", "dumb-init", "catatonit", "podman-init", "s6-svscan", "runit", "openrc-init", "pause"}
