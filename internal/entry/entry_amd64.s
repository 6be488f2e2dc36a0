// SPDX-License-Identifier: Apache-2.0

#include "textflag.h"

#define SYS_prlimit64 302
#define RLIMIT_NOFILE 7

// The process begins here, with the kernel's stack of arguments, and goes on at the usual
// beginning. Descriptors 0 to 2 stay allowed, since the runtime opens them if they aren't open.
TEXT swiftcni_entry(SB), NOSPLIT|NOFRAME, $0
	MOVL $SYS_prlimit64, AX
	XORL DI, DI
	MOVL $RLIMIT_NOFILE, SI
	XORL DX, DX
	LEAQ ·callers(SB), R10
	SYSCALL
	TESTQ AX, AX
	JNE  begin
	MOVQ ·callers+8(SB), CX
	CMPQ CX, $3
	JLS  begin
	MOVQ CX, ·lowered+8(SB)
	MOVQ $3, ·lowered(SB)
	MOVL $SYS_prlimit64, AX
	XORL DI, DI
	MOVL $RLIMIT_NOFILE, SI
	LEAQ ·lowered(SB), DX
	XORL R10, R10
	SYSCALL
begin:
	XORL DX, DX
	MOVQ ·sampling(SB), AX
	MOVQ DX, (AX)
	JMP _rt0_amd64_linux(SB)
