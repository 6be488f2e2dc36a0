// SPDX-License-Identifier: Apache-2.0

#include "textflag.h"

// func sequence(calls *call, n int)
// R12 and R13 are the current call and the number of those left. The kernel preserves both.
TEXT ·sequence(SB), NOSPLIT, $0-16
	MOVQ calls+0(FP), R12
	MOVQ n+8(FP), R13
next:
	TESTQ R13, R13
	JEQ  done
	MOVQ 8(R12), DI
	MOVQ 40(R12), CX
	TESTQ CX, CX
	JEQ  second
	MOVQ 0(CX), DI
second:
	MOVQ 16(R12), SI
	MOVQ 48(R12), CX
	TESTQ CX, CX
	JEQ  third
	MOVQ CX, SI
third:
	MOVQ 24(R12), DX
	XORL R10, R10
	XORL R8, R8
	XORL R9, R9
	MOVQ 0(R12), AX
	SYSCALL
	MOVQ AX, 32(R12)
	CMPQ AX, $-4095
	JCS  made
	CMPQ 56(R12), $0
	JNE  done
made:
	ADDQ $64, R12
	DECQ R13
	JMP  next
done:
	RET
