// SPDX-License-Identifier: Apache-2.0

package main

import (
	"strconv"
	"syscall"

	"golang.org/x/sys/unix"
)

// callNames are the calls that plugins make. Others go by number.
var callNames = map[uint64]string{
	unix.SYS_ACCEPT4: "accept4", unix.SYS_BIND: "bind", unix.SYS_BRK: "brk", unix.SYS_CAPGET: "capget", unix.SYS_CHDIR: "chdir",
	unix.SYS_CLOCK_GETTIME: "clock_gettime", unix.SYS_CLOCK_NANOSLEEP: "clock_nanosleep", unix.SYS_CLONE: "clone",
	unix.SYS_CLONE3: "clone3", unix.SYS_CLOSE: "close", unix.SYS_CONNECT: "connect",
	unix.SYS_COPY_FILE_RANGE: "copy_file_range", unix.SYS_DUP: "dup", unix.SYS_DUP3: "dup3",
	unix.SYS_EPOLL_CREATE1: "epoll_create1", unix.SYS_EPOLL_CTL: "epoll_ctl", unix.SYS_EPOLL_PWAIT: "epoll_pwait",
	unix.SYS_EVENTFD2: "eventfd2", unix.SYS_EXECVE: "execve", unix.SYS_EXIT: "exit", unix.SYS_EXIT_GROUP: "exit_group",
	unix.SYS_FACCESSAT: "faccessat", unix.SYS_FACCESSAT2: "faccessat2", unix.SYS_FALLOCATE: "fallocate",
	unix.SYS_FCHMOD: "fchmod", unix.SYS_FCHMODAT: "fchmodat", unix.SYS_FCHOWN: "fchown", unix.SYS_FCNTL: "fcntl",
	unix.SYS_FDATASYNC: "fdatasync", unix.SYS_FLOCK: "flock", unix.SYS_FSTAT: "fstat", unix.SYS_FSTATFS: "fstatfs",
	unix.SYS_FSYNC: "fsync", unix.SYS_FTRUNCATE: "ftruncate", unix.SYS_FUTEX: "futex", unix.SYS_GETCWD: "getcwd",
	unix.SYS_GETDENTS64: "getdents64", unix.SYS_GETEUID: "geteuid", unix.SYS_GETPEERNAME: "getpeername",
	unix.SYS_GETPID: "getpid", unix.SYS_GETRANDOM: "getrandom", unix.SYS_GETRLIMIT: "getrlimit",
	unix.SYS_GETSOCKNAME: "getsockname", unix.SYS_GETSOCKOPT: "getsockopt", unix.SYS_GETTID: "gettid",
	unix.SYS_GETUID: "getuid", unix.SYS_IOCTL: "ioctl", unix.SYS_KILL: "kill", unix.SYS_LINKAT: "linkat",
	unix.SYS_LSEEK: "lseek", unix.SYS_MADVISE: "madvise", unix.SYS_MEMFD_CREATE: "memfd_create",
	unix.SYS_MINCORE: "mincore", unix.SYS_MKDIRAT: "mkdirat", unix.SYS_MMAP: "mmap", unix.SYS_MOUNT: "mount",
	unix.SYS_MPROTECT: "mprotect", unix.SYS_MUNMAP: "munmap", unix.SYS_NANOSLEEP: "nanosleep",
	unix.SYS_NEWFSTATAT: "newfstatat", unix.SYS_OPENAT: "openat", unix.SYS_OPENAT2: "openat2", unix.SYS_PIDFD_OPEN: "pidfd_open",
	unix.SYS_PIDFD_SEND_SIGNAL: "pidfd_send_signal", unix.SYS_PIPE2: "pipe2", unix.SYS_PPOLL: "ppoll",
	unix.SYS_PRCTL: "prctl", unix.SYS_PREAD64: "pread64", unix.SYS_PRLIMIT64: "prlimit64",
	unix.SYS_PWRITE64: "pwrite64", unix.SYS_READ: "read", unix.SYS_READLINKAT: "readlinkat",
	unix.SYS_RECVFROM: "recvfrom", unix.SYS_RECVMSG: "recvmsg", unix.SYS_RENAMEAT: "renameat",
	unix.SYS_RENAMEAT2: "renameat2", unix.SYS_RESTART_SYSCALL: "restart_syscall", unix.SYS_RSEQ: "rseq",
	unix.SYS_RT_SIGACTION: "rt_sigaction", unix.SYS_RT_SIGPROCMASK: "rt_sigprocmask",
	unix.SYS_RT_SIGRETURN: "rt_sigreturn", unix.SYS_SCHED_GETAFFINITY: "sched_getaffinity",
	unix.SYS_SCHED_YIELD: "sched_yield", unix.SYS_SENDMMSG: "sendmmsg", unix.SYS_SENDMSG: "sendmsg",
	unix.SYS_SENDTO: "sendto", unix.SYS_SET_ROBUST_LIST: "set_robust_list",
	unix.SYS_SET_TID_ADDRESS: "set_tid_address", unix.SYS_SETNS: "setns", unix.SYS_SETSOCKOPT: "setsockopt",
	unix.SYS_SIGALTSTACK: "sigaltstack", unix.SYS_SOCKET: "socket", unix.SYS_SOCKETPAIR: "socketpair",
	unix.SYS_SPLICE: "splice", unix.SYS_STATFS: "statfs", unix.SYS_STATX: "statx", unix.SYS_SYMLINKAT: "symlinkat",
	unix.SYS_SYSINFO: "sysinfo", unix.SYS_TGKILL: "tgkill", unix.SYS_TRUNCATE: "truncate", unix.SYS_UMASK: "umask",
	unix.SYS_UMOUNT2: "umount2", unix.SYS_UNAME: "uname", unix.SYS_UNLINKAT: "unlinkat",
	unix.SYS_UNSHARE: "unshare", unix.SYS_UTIMENSAT: "utimensat", unix.SYS_WAIT4: "wait4",
	unix.SYS_WAITID: "waitid", unix.SYS_WRITE: "write", unix.SYS_WRITEV: "writev",
}

func callName(nr uint64) string {
	if name, ok := callNames[nr]; ok {
		return name
	}
	if name, ok := oldCalls[nr]; ok {
		return name
	}
	return "syscall_" + strconv.FormatUint(nr, 10)
}

// isRuntime reports whether a call belongs to a language's runtime. It changes nothing outside its
// process, and a death there is the same as one at the next call.
func isRuntime(name string) bool {
	switch name {
	case "futex", "nanosleep", "clock_nanosleep", "sched_yield", "madvise", "restart_syscall", "getpid", "gettid",
		"tgkill", "rt_sigaction", "rt_sigprocmask", "rt_sigreturn", "sigaltstack", "mmap", "munmap", "mprotect",
		"brk", "mincore", "arch_prctl", "sched_getaffinity", "prlimit64", "getrlimit", "rseq", "set_robust_list",
		"set_tid_address", "epoll_pwait", "epoll_wait", "exit", "clock_gettime", "getrandom", "getuid", "geteuid",
		"uname", "sysinfo", "prctl", "poll", "ppoll":
		return true
	}
	return false
}

// changesFiles reports whether a call may change a file system.
func changesFiles(name string) bool {
	switch name {
	case "openat", "open", "linkat", "link", "symlinkat", "symlink", "renameat", "renameat2", "rename", "unlinkat",
		"unlink", "rmdir", "mkdirat", "mkdir", "write", "writev", "pwrite64", "ftruncate", "truncate", "utimensat",
		"utimes", "fallocate", "copy_file_range", "fchmod", "fchmodat", "chmod":
		return true
	}
	return false
}

// errnosOf are the errors with which a call may really fail and that aren't answers to the plugin's
// own question, as ENOENT is.
func errnosOf(name string) []syscall.Errno {
	switch name {
	case "openat", "openat2", "open":
		return []syscall.Errno{unix.EINTR, unix.EMFILE, unix.ENOMEM, unix.EACCES, unix.EIO, unix.ENOSPC}
	case "read", "pread64", "getdents64", "getdents", "readlinkat", "readlink":
		return []syscall.Errno{unix.EINTR, unix.EIO}
	case "write", "pwrite64", "writev":
		return []syscall.Errno{unix.EINTR, unix.ENOSPC, unix.EIO}
	case "ftruncate", "truncate":
		return []syscall.Errno{unix.EINTR, unix.EIO}
	case "socket":
		return []syscall.Errno{unix.EMFILE, unix.ENOMEM, unix.ENOBUFS, unix.EACCES}
	case "accept4":
		return []syscall.Errno{unix.EMFILE, unix.ENOMEM, unix.ENOBUFS, unix.ECONNABORTED}
	case "epoll_ctl":
		return []syscall.Errno{unix.ENOMEM, unix.ENOSPC}
	case "bind", "connect", "getsockname", "setsockopt", "getsockopt":
		return []syscall.Errno{unix.ENOMEM, unix.ENOBUFS}
	case "sendto", "sendmsg", "sendmmsg", "recvfrom", "recvmsg":
		return []syscall.Errno{unix.EINTR, unix.ENOBUFS, unix.ENOMEM}
	case "flock":
		return []syscall.Errno{unix.EINTR, unix.ENOLCK, unix.ENOMEM}
	case "linkat", "link", "symlinkat", "symlink", "renameat", "renameat2", "rename", "mkdirat", "mkdir":
		return []syscall.Errno{unix.ENOSPC, unix.EIO, unix.EACCES, unix.ENOMEM}
	case "unlinkat", "unlink", "rmdir", "utimensat", "utimes", "fstat", "stat", "lstat", "newfstatat", "statx",
		"faccessat", "faccessat2", "access", "statfs", "fstatfs", "fsync", "fdatasync":
		return []syscall.Errno{unix.EIO, unix.EACCES, unix.ENOMEM}
	case "setns", "unshare", "ioctl", "mount", "umount2":
		return []syscall.Errno{unix.ENOMEM, unix.EACCES}
	case "close":
		return []syscall.Errno{unix.EINTR, unix.EIO}
	case "pidfd_open":
		return []syscall.Errno{unix.EMFILE, unix.ENOMEM}
	case "dup", "dup2", "dup3", "pipe", "pipe2":
		return []syscall.Errno{unix.EMFILE}
	case "execve":
		return []syscall.Errno{unix.ENOMEM, unix.EACCES, unix.EIO}
	case "clone", "clone3", "fork", "vfork":
		return []syscall.Errno{unix.EAGAIN, unix.ENOMEM}
	}
	return nil
}
