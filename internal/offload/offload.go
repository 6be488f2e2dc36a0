// SPDX-License-Identifier: Apache-2.0

//go:build linux && (amd64 || arm64)

// Package offload leaves a slow system call to a process that outlives this one.
//
// Deleting a link keeps its sender in the kernel for an RCU barrier of 15 to 35 ms after the link is gone.
// A plugin's process that ended meanwhile would be waited for all the same, so the call must be another
// process's: a child that shares this one's memory (clone(2) with CLONE_VM), has no stack frames, no Go and no
// libc, and makes raw system calls alone. A fork would copy page tables, and executing a program would start one.
package offload

import (
	"slices"
	"strings"
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
	until   unix.Timespec // of CLOCK_MONOTONIC: when the child ends
}

const (
	pageSize   = 4096
	messageAt  = 128 // behind the request and an address
	maxMessage = pageSize/2 - messageAt
)

// clone blocks all signals, starts the child on a stack, and restores the mask. The child closes standard
// input, output and error, so that nobody waits for it there, makes its system call, sleeps until its time has come, and
// exits without telling its parent.
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

// Send passes a message to the kernel on a netlink socket and returns at once, while a child is in sendto(2).
// The child has a copy of every descriptor but the standard ones, and so keeps them open until it ends, like
// [Linger]'s.
func Send(fd int, message []byte) error {
	if len(message) > maxMessage {
		return unix.EMSGSIZE
	}
	return start(func(page []byte, r *request) {
		const addrAt = messageAt - unix.SizeofSockaddrNetlink
		*(*uint16)(unsafe.Pointer(&page[addrAt])) = unix.AF_NETLINK
		copy(page[messageAt:], message)
		r.number, r.fd, r.length = unix.SYS_SENDTO, uintptr(fd), uintptr(len(message))
		r.message, r.addr = uintptr(unsafe.Pointer(&page[messageAt])), uintptr(unsafe.Pointer(&page[addrAt]))
	})
}

// Linger leaves a child that keeps this process's descriptors, but for the standard ones, open for [UntilStep]: who
// closes a socket last waits for what the kernel does then.
func Linger() error {
	return start(func(_ []byte, r *request) { r.number = unix.SYS_GETPID })
}

// start starts a child with a request that fill completes, in a page that's the child's for good.
func start(fill func(page []byte, r *request)) error {
	// Memory that nothing here ever frees or moves: request, address and message below, the stack above them.
	page, err := unix.Mmap(-1, 0, pageSize, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_PRIVATE|unix.MAP_ANONYMOUS)
	if err != nil {
		return err
	}
	base := unsafe.Pointer(unsafe.SliceData(page))
	r := (*request)(base)
	r.all = ^uint64(0)
	_ = unix.ClockGettime(unix.CLOCK_MONOTONIC, &r.until) // it has this clock
	r.until = unix.NsecToTimespec(r.until.Nano() + int64(untilStep(r.until.Nano())))
	fill(page, r)
	if pid := clone(uintptr(base)+pageSize-16, r); pid < 0 {
		_ = unix.Munmap(page)
		return unix.Errno(-pid)
	}
	return nil
}

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
