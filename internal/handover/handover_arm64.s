// SPDX-License-Identifier: Apache-2.0

#include "textflag.h"

#define SYS_ioctl 29
#define SYS_faccessat 48
#define SYS_close 57
#define SYS_read 63
#define SYS_write 64
#define SYS_ppoll 73
#define SYS_exit_group 94
#define SYS_socket 198
#define SYS_connect 203
#define SYS_getsockopt 209
#define SYS_sendmsg 211

// See handover_amd64.s, also for what lies where. The descriptor is in R19.
TEXT swiftcni_handover(SB), NOSPLIT|NOFRAME, $0
	SUB  $256, RSP
	MOVD $0x732f6e75722f0001, R0 // AF_UNIX, "/run/s"
	MOVD R0, 0(RSP)
	MOVD $0x2f696e6374666977, R0 // "wiftcni/"
	MOVD R0, 8(RSP)
	MOVD $0x746e656469736572, R0 // "resident"
	MOVD R0, 16(RSP)
	MOVD ZR, 24(RSP)

	MOVD $SYS_faccessat, R8
	MOVD $-100, R0 // AT_FDCWD
	ADD  $2, RSP, R1
	MOVD $0, R2
	SVC
	CBNZ R0, alone

	MOVD $SYS_socket, R8
	MOVD $1, R0       // AF_UNIX
	MOVD $0x80805, R1 // SOCK_SEQPACKET, SOCK_CLOEXEC, SOCK_NONBLOCK
	MOVD $0, R2
	SVC
	TBNZ $63, R0, alone
	MOVD R0, R19
	MOVD $SYS_connect, R8
	MOVD RSP, R1
	MOVD $25, R2
	SVC
	CBNZ R0, close

	MOVD $SYS_getsockopt, R8
	MOVD R19, R0
	MOVD $1, R1  // SOL_SOCKET
	MOVD $17, R2 // SO_PEERCRED
	ADD  $32, RSP, R3
	MOVD $12, R4
	MOVW R4, 44(RSP)
	ADD  $44, RSP, R4
	SVC
	CBNZ R0, close
	MOVWU 36(RSP), R0
	CBNZ R0, close

	MOVD 256(RSP), R20
	ADD  $264, RSP, R21
	MOVD (R21), R22
	CBZ  R20, close
	ADD  R20<<3, R21, R23
	MOVD -8(R23), R24
	ADD  $8, R23
environment:
	MOVD (R23), R0
	CBZ  R0, last
	MOVD R0, R24
	ADD  $8, R23
	JMP  environment
last:
	MOVBU (R24), R0
	ADD   $1, R24
	CBNZ  R0, last
	SUB   R22, R24

	MOVD $1, R0 // version
	MOVW R0, 48(RSP)
	MOVW R20, 52(RSP)
	ADD  $48, RSP, R0
	MOVD R0, 64(RSP)
	MOVD $8, R0
	MOVD R0, 72(RSP)
	MOVD R22, 80(RSP)
	MOVD R24, 88(RSP)
	MOVD $28, R0
	MOVD R0, 96(RSP)
	MOVD $1, R0 // SOL_SOCKET, SCM_RIGHTS
	MOVW R0, 104(RSP)
	MOVW R0, 108(RSP)
	MOVW ZR, 112(RSP)
	MOVW R0, 116(RSP)
	MOVD $2, R0
	MOVD R0, 120(RSP)
	MOVD ZR, 128(RSP)
	MOVD ZR, 136(RSP)
	ADD  $64, RSP, R0
	MOVD R0, 144(RSP)
	MOVD $2, R0
	MOVD R0, 152(RSP)
	ADD  $96, RSP, R0
	MOVD R0, 160(RSP)
	MOVD $32, R0
	MOVD R0, 168(RSP)
	MOVD ZR, 176(RSP)
	MOVD $SYS_sendmsg, R8
	MOVD R19, R0
	ADD  $128, RSP, R1
	MOVD $0x4000, R2 // MSG_NOSIGNAL
	SVC
	TBNZ $63, R0, close

wait:
	MOVD $SYS_ppoll, R8
	ADD  $184, RSP, R0
	MOVW R19, 184(RSP)
	MOVD $1, R1 // POLLIN
	MOVW R1, 188(RSP)
	MOVD $0, R2
	MOVD $0, R3
	MOVD $8, R4
	SVC
	MOVD $SYS_read, R8
	MOVD R19, R0
	ADD  $192, RSP, R1
	MOVD $1, R2
	SVC
	CMN  $11, R0 // EAGAIN
	BEQ  wait
	CMN  $4, R0 // EINTR
	BEQ  wait
	CMP  $1, R0
	BNE  died
	MOVBU 192(RSP), R0
	CMP  $255, R0 // DoItYourself
	BEQ  close
exit:
	MOVD $SYS_exit_group, R8
	SVC

died:
	CMN  $104, R0 // ECONNRESET
	BEQ  close

	MOVD $·died(SB), R25
	CMP  $1, R20
	BEQ  cni
	MOVD $·diedDriving(SB), R25
	MOVD 8(R21), R0
	MOVD (R0), R0
	LSL  $16, R0
	MOVD $0x0070757465730000, R1 // "setup" and its end
	CMP  R1, R0
	BEQ  lost
	JMP  again

cni:
	ADD  R20<<3, R21, R23
	ADD  $8, R23
	MOVD $0x4d4d4f435f494e43, R1 // "CNI_COMM"
	MOVD $0x004444413d444e41, R2 // "AND=ADD"
verb:
	MOVD (R23), R0
	CBZ  R0, again
	ADD  $8, R23
	MOVD (R0), R3
	CMP  R1, R3
	BNE  verb
	MOVD 8(R0), R3
	CMP  R2, R3
	BEQ  lost
	JMP  verb
again:
	MOVD $SYS_ioctl, R8
	MOVD $0, R0
	MOVD $0x541b, R1 // FIONREAD
	ADD  $200, RSP, R2
	MOVW ZR, 200(RSP)
	SVC
	CBNZ R0, lost
	MOVWU 200(RSP), R0
	CBNZ R0, close

lost:
	MOVD $SYS_write, R8
	MOVD $1, R0
	MOVD (R25), R1
	MOVD 8(R25), R2
	SVC
	MOVD $1, R0
	JMP  exit

close:
	MOVD $SYS_close, R8
	MOVD R19, R0
	SVC
alone:
	ADD $256, RSP
	JMP swiftcni_entry(SB)
