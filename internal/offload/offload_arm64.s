// SPDX-License-Identifier: Apache-2.0

#include "textflag.h"

#define SYS_close 57
#define SYS_exit 93
#define SYS_clock_nanosleep 115
#define SYS_rt_sigprocmask 135
#define SYS_clone 220
#define SIG_SETMASK 2
#define CLONE_VM 0x100
#define CLOCK_MONOTONIC 1
#define TIMER_ABSTIME 1

// func clone(stack uintptr, r *request) (pid int)
// R19 and R20 keep the request and the result: the kernel preserves them, and the child's are the parent's.
TEXT ·clone(SB), NOSPLIT, $0-24
	MOVD r+8(FP), R19
	MOVD $SIG_SETMASK, R0
	ADD  $32, R19, R1
	ADD  $40, R19, R2
	MOVD $8, R3
	MOVD $SYS_rt_sigprocmask, R8
	SVC
	MOVD $CLONE_VM, R0
	MOVD stack+0(FP), R1
	MOVD ZR, R2
	MOVD ZR, R3
	MOVD ZR, R4
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
child:
	MOVD ZR, R0
	MOVD $SYS_close, R8
	SVC
	MOVD $1, R0
	MOVD $SYS_close, R8
	SVC
	MOVD $2, R0
	MOVD $SYS_close, R8
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
