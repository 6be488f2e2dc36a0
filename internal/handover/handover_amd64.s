// SPDX-License-Identifier: Apache-2.0

#include "textflag.h"

#define SYS_read 0
#define SYS_write 1
#define SYS_close 3
#define SYS_poll 7
#define SYS_ioctl 16
#define SYS_access 21
#define SYS_socket 41
#define SYS_connect 42
#define SYS_sendmsg 46
#define SYS_getsockopt 55
#define SYS_exit_group 231

// The process begins here, with the kernel's stack of arguments. All that's needed is built below
// that stack, where no page has to be touched for the first time:
//
//	  0  struct sockaddr_un, 25 bytes
//	 32  struct ucred, 12 bytes, and its length at 44
//	 48  the message's header, 8 bytes
//	 64  struct iovec: the header, and the strings of arguments and environment
//	 96  struct cmsghdr and descriptors 0, 1 and 2
//	128  struct msghdr, 56 bytes
//	184  struct pollfd
//	192  the answer
//	200  how much there is on the standard input
//	256  the arguments' number, the arguments, 0, the environment, 0
//
// The descriptor is in BX, which system calls keep.
TEXT swiftcni_handover(SB), NOSPLIT|NOFRAME, $0
	SUBQ $256, SP
	MOVQ $0x732f6e75722f0001, AX // AF_UNIX, "/run/s"
	MOVQ AX, 0(SP)
	MOVQ $0x2f696e6374666977, AX // "wiftcni/"
	MOVQ AX, 8(SP)
	MOVQ $0x746e656469736572, AX // "resident"
	MOVQ AX, 16(SP)
	MOVQ $0, 24(SP)

	// One system call finds out that there's no resident.
	MOVL $SYS_access, AX
	LEAQ 2(SP), DI
	XORL SI, SI
	SYSCALL
	TESTQ AX, AX
	JNE alone

	// It doesn't wait for a resident that accepts nobody.
	MOVL $SYS_socket, AX
	MOVL $1, DI       // AF_UNIX
	MOVL $0x80805, SI // SOCK_SEQPACKET, SOCK_CLOEXEC, SOCK_NONBLOCK
	XORL DX, DX
	SYSCALL
	TESTQ AX, AX
	JLT alone
	MOVQ AX, BX
	MOVL $SYS_connect, AX
	MOVQ BX, DI
	MOVQ SP, SI
	MOVL $25, DX
	SYSCALL
	TESTQ AX, AX
	JNE close

	// Only root may answer: whoever made the socket listen.
	MOVL $SYS_getsockopt, AX
	MOVQ BX, DI
	MOVL $1, SI  // SOL_SOCKET
	MOVL $17, DX // SO_PEERCRED
	LEAQ 32(SP), R10
	MOVL $12, 44(SP)
	LEAQ 44(SP), R8
	SYSCALL
	TESTQ AX, AX
	JNE close
	CMPL 36(SP), $0
	JNE close

	// The strings lie behind each other, from the first argument to the environment's last.
	MOVQ 256(SP), R12
	LEAQ 264(SP), R13
	MOVQ (R13), R14
	TESTQ R12, R12
	JEQ close
	MOVQ -8(R13)(R12*8), CX
	LEAQ 8(R13)(R12*8), R15
environment:
	MOVQ (R15), AX
	TESTQ AX, AX
	JEQ last
	MOVQ AX, CX
	ADDQ $8, R15
	JMP environment
last:
	MOVB (CX), AX
	ADDQ $1, CX
	TESTB AX, AX
	JNE last
	SUBQ R14, CX

	MOVL $1, 48(SP) // version
	MOVL R12, 52(SP)
	LEAQ 48(SP), AX
	MOVQ AX, 64(SP)
	MOVQ $8, 72(SP)
	MOVQ R14, 80(SP)
	MOVQ CX, 88(SP)
	MOVQ $28, 96(SP)
	MOVL $1, 104(SP) // SOL_SOCKET
	MOVL $1, 108(SP) // SCM_RIGHTS
	MOVL $0, 112(SP)
	MOVL $1, 116(SP)
	MOVQ $2, 120(SP)
	MOVQ $0, 128(SP)
	MOVQ $0, 136(SP)
	LEAQ 64(SP), AX
	MOVQ AX, 144(SP)
	MOVQ $2, 152(SP)
	LEAQ 96(SP), AX
	MOVQ AX, 160(SP)
	MOVQ $32, 168(SP)
	MOVQ $0, 176(SP)
	MOVL $SYS_sendmsg, AX
	MOVQ BX, DI
	LEAQ 128(SP), SI
	MOVL $0x4000, DX // MSG_NOSIGNAL
	SYSCALL
	TESTQ AX, AX
	JLT close

wait:
	MOVL $SYS_poll, AX
	LEAQ 184(SP), DI
	MOVL BX, 184(SP)
	MOVL $1, 188(SP) // POLLIN
	MOVL $1, SI
	MOVQ $-1, DX
	SYSCALL
	MOVL $SYS_read, AX
	MOVQ BX, DI
	LEAQ 192(SP), SI
	MOVL $1, DX
	SYSCALL
	CMPQ AX, $-11 // EAGAIN
	JEQ wait
	CMPQ AX, $-4 // EINTR
	JEQ wait
	CMPQ AX, $1
	JNE died
	MOVBLZX 192(SP), DI
	CMPL DI, $255 // DoItYourself
	JEQ close
exit:
	MOVL $SYS_exit_group, AX
	SYSCALL

died:
	CMPQ AX, $-104 // ECONNRESET: the message was never read
	JEQ close

	// Calls with arguments are netavark's. Each but setup may be made twice.
	LEAQ ·died(SB), R14
	CMPQ R12, $1
	JEQ  cni
	LEAQ ·diedDriving(SB), R14
	MOVQ 8(R13), AX
	MOVQ (AX), AX // the stack ends with eight bytes behind the strings
	SHLQ $16, AX
	MOVQ $0x0070757465730000, CX // "setup" and its end
	CMPQ AX, CX
	JEQ  lost
	JMP  again

	// Each verb but ADD may be made twice, and some runtimes don't call again. It needs its input,
	// which the resident has left in the pipe.
cni:
	LEAQ 8(R13)(R12*8), R15
	MOVQ $0x4d4d4f435f494e43, R8 // "CNI_COMM"
	MOVQ $0x004444413d444e41, R9 // "AND=ADD"
verb:
	MOVQ (R15), AX
	TESTQ AX, AX
	JEQ again
	ADDQ $8, R15
	CMPQ R8, (AX)
	JNE verb
	CMPQ R9, 8(AX)
	JEQ lost
	JMP verb
again:
	MOVL $SYS_ioctl, AX
	XORL DI, DI
	MOVL $0x541b, SI // FIONREAD
	LEAQ 200(SP), DX
	MOVL $0, 200(SP)
	SYSCALL
	TESTQ AX, AX
	JNE lost
	CMPL 200(SP), $0
	JNE close

lost:
	MOVL $SYS_write, AX
	MOVL $1, DI
	MOVQ (R14), SI
	MOVQ 8(R14), DX
	SYSCALL
	MOVL $1, DI
	JMP exit

close:
	MOVL $SYS_close, AX
	MOVQ BX, DI
	SYSCALL
alone:
	ADDQ $256, SP
	JMP swiftcni_entry(SB)
