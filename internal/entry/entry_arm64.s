// SPDX-License-Identifier: Apache-2.0

#include "textflag.h"

#define SYS_prlimit64 261
#define RLIMIT_NOFILE 7

// See entry_amd64.s.
TEXT swiftcni_entry(SB), NOSPLIT|NOFRAME, $0
	MOVD $SYS_prlimit64, R8
	MOVD $0, R0
	MOVD $RLIMIT_NOFILE, R1
	MOVD $0, R2
	MOVD $·callers(SB), R3
	SVC
	CBNZ R0, begin
	MOVD ·callers+8(SB), R4
	CMP  $3, R4
	BLS  begin
	MOVD R4, ·lowered+8(SB)
	MOVD $3, R4
	MOVD R4, ·lowered(SB)
	MOVD $SYS_prlimit64, R8
	MOVD $RLIMIT_NOFILE, R1
	MOVD $·lowered(SB), R2
	MOVD $0, R3
	SVC
begin:
	MOVD $0, R0
	MOVD ·sampling(SB), R1
	MOVD R0, (R1)
	JMP _rt0_arm64_linux(SB)
