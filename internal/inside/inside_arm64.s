// SPDX-License-Identifier: Apache-2.0

#include "textflag.h"

// func sequence(calls *call, n int)
// R19 and R20 are the current call and the number of those left. The kernel preserves both.
TEXT ·sequence(SB), NOSPLIT, $0-16
	MOVD calls+0(FP), R19
	MOVD n+8(FP), R20
next:
	CBZ  R20, done
	MOVD 8(R19), R0
	MOVD 40(R19), R9
	CBZ  R9, second
	MOVD 0(R9), R0
second:
	MOVD 16(R19), R1
	MOVD 48(R19), R9
	CBZ  R9, third
	MOVD R9, R1
third:
	MOVD 24(R19), R2
	MOVD ZR, R3
	MOVD ZR, R4
	MOVD ZR, R5
	MOVD 0(R19), R8
	SVC
	MOVD R0, 32(R19)
	CMN  $4095, R0
	BCC  made
	MOVD 56(R19), R9
	CBNZ R9, done
made:
	ADD  $64, R19
	SUB  $1, R20
	B    next
done:
	RET
