// SPDX-License-Identifier: Apache-2.0

#include "textflag.h"

#define SYS_close 3
#define SYS_rt_sigprocmask 14
#define SYS_clone 56
#define SYS_exit 60
#define SYS_chdir 80
#define SYS_futex 202
#define SYS_clock_nanosleep 230
#define SYS_close_range 436
#define SIG_SETMASK 2
#define CLONE_VM_CHILD_CLEARTID 0x200100
#define CLOCK_MONOTONIC 1
#define TIMER_ABSTIME 1
#define FUTEX_WAKE 1
#define OLD_KERNEL_FDS 1024

// func clone(stack uintptr, r *request) (pid int)
// R12 and R13 keep the request and the result. The kernel preserves them, and the child starts
// with the parent's.
TEXT ·clone(SB), NOSPLIT, $0-24
	MOVQ r+8(FP), R12
	MOVQ $SIG_SETMASK, DI
	LEAQ 32(R12), SI
	LEAQ 40(R12), DX
	MOVQ $8, R10
	MOVQ $SYS_rt_sigprocmask, AX
	SYSCALL
	MOVQ $CLONE_VM_CHILD_CLEARTID, DI
	MOVQ stack+0(FP), SI
	XORL DX, DX
	LEAQ 72(R12), R10
	XORL R8, R8
	MOVQ $SYS_clone, AX
	SYSCALL
	TESTQ AX, AX
	JEQ  child
	MOVQ AX, R13
	MOVQ $SIG_SETMASK, DI
	LEAQ 40(R12), SI
	XORL DX, DX
	MOVQ $8, R10
	MOVQ $SYS_rt_sigprocmask, AX
	SYSCALL
	MOVQ R13, pid+16(FP)
	RET

child: // R13 is the gap, BX a descriptor in it.
	LEAQ 80(R12), R13
gap:
	MOVL 0(R13), DI
	MOVL 4(R13), SI
	CMPL DI, SI
	JHI  gone
	XORL DX, DX
	MOVQ $SYS_close_range, AX
	SYSCALL
	TESTQ AX, AX
	JEQ  next
	// Linux before 5.9, or a filter: one by one.
	MOVL 0(R13), BX
each:
	CMPL BX, 4(R13)
	JHI  next
	CMPL BX, $OLD_KERNEL_FDS
	JCC  next
	MOVL BX, DI
	MOVQ $SYS_close, AX
	SYSCALL
	INCL BX
	JMP  each
next:
	ADDQ $8, R13
	JMP  gap

gone:
	LEAQ 76(R12), DI
	MOVQ $SYS_chdir, AX
	SYSCALL
	MOVL $0, 72(R12)
	LEAQ 72(R12), DI
	MOVQ $FUTEX_WAKE, SI
	MOVQ $1, DX
	MOVQ $SYS_futex, AX
	SYSCALL
	MOVQ 0(R12), DI
	MOVQ 8(R12), SI
	MOVQ 16(R12), DX
	XORL R10, R10
	MOVQ 24(R12), R8
	MOVQ $12, R9
	MOVQ 48(R12), AX
	SYSCALL
	MOVQ $CLOCK_MONOTONIC, DI
	MOVQ $TIMER_ABSTIME, SI
	LEAQ 56(R12), DX
	XORL R10, R10
	MOVQ $SYS_clock_nanosleep, AX
	SYSCALL
	XORL DI, DI
	MOVQ $SYS_exit, AX
	SYSCALL
	INT  $3
