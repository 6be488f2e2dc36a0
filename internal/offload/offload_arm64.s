// SPDX-License-Identifier: Apache-2.0

#include "textflag.h"

#define SYS_chdir 49
#define SYS_close 57
#define SYS_exit 93
#define SYS_futex 98
#define SYS_clock_nanosleep 115
#define SYS_rt_sigprocmask 135
#define SYS_clone 220
#define SYS_close_range 436
#define SIG_SETMASK 2
#define CLONE_VM_CHILD_CLEARTID 0x200100
#define CLOCK_MONOTONIC 1
#define TIMER_ABSTIME 1
#define FUTEX_WAKE 1
#define OLD_KERNEL_FDS 1024

// func clone(stack uintptr, r *request) (pid int)
// R19 and R20 keep the request and the result. The kernel preserves them, and the child starts
// with the parent's.
TEXT ·clone(SB), NOSPLIT, $0-24
	MOVD r+8(FP), R19
	MOVD $SIG_SETMASK, R0
	ADD  $32, R19, R1
	ADD  $40, R19, R2
	MOVD $8, R3
	MOVD $SYS_rt_sigprocmask, R8
	SVC
	MOVD $CLONE_VM_CHILD_CLEARTID, R0
	MOVD stack+0(FP), R1
	MOVD ZR, R2
	MOVD ZR, R3
	ADD  $72, R19, R4
	MOVD $SYS_clone, R8
	SVC
	CBZ  R0, child
	MOVD R0, R20
	MOVD $SIG_SETMASK, R0
	ADD  $40, R19, R1
	MOVD ZR, R2
	MOVD $8, R3
	MOVD $SYS_rt_sigprocmask, R8
	SVC
	MOVD R20, pid+16(FP)
	RET

child: // R20 is the gap, R21 a descriptor in it, R22 the gap's last.
	ADD  $80, R19, R20
gap:
	MOVWU 0(R20), R21
	MOVWU 4(R20), R22
	CMPW R22, R21
	BHI  gone
	MOVD R21, R0
	MOVD R22, R1
	MOVD ZR, R2
	MOVD $SYS_close_range, R8
	SVC
	CBZ  R0, next
	// Linux before 5.9, or a filter: one by one.
each:
	CMPW R22, R21
	BHI  next
	CMPW $OLD_KERNEL_FDS, R21
	BHS  next
	MOVD R21, R0
	MOVD $SYS_close, R8
	SVC
	ADD  $1, R21
	B    each
next:
	ADD  $8, R20
	B    gap

gone:
	ADD  $76, R19, R0
	MOVD $SYS_chdir, R8
	SVC
	ADD  $72, R19, R0
	STLRW ZR, (R0)
	MOVD $FUTEX_WAKE, R1
	MOVD $1, R2
	MOVD $SYS_futex, R8
	SVC
	MOVD 0(R19), R0
	MOVD 8(R19), R1
	MOVD 16(R19), R2
	MOVD ZR, R3
	MOVD 24(R19), R4
	MOVD $12, R5
	MOVD 48(R19), R8
	SVC
	MOVD $CLOCK_MONOTONIC, R0
	MOVD $TIMER_ABSTIME, R1
	ADD  $56, R19, R2
	MOVD ZR, R3
	MOVD $SYS_clock_nanosleep, R8
	SVC
	MOVD ZR, R0
	MOVD $SYS_exit, R8
	SVC
	BRK
