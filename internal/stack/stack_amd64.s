// SPDX-License-Identifier: Apache-2.0

#include "funcdata.h"
#include "textflag.h"

// func grow()
TEXT ·grow(SB), $24576-0
	NO_LOCAL_POINTERS
	RET
