// SPDX-License-Identifier: Apache-2.0

// Package handover lets a process that stays make a plugin's call.
//
// A Go program needs about a millisecond before its first statement, which is more than the kernel
// needs to attach a container. So the plugin's first instructions, which run before Go's runtime,
// look for a resident's socket. If there is one, they hand over the arguments, the environment and
// the three standard streams in one message, wait for one byte, and exit with it. Nothing of the
// program but these instructions has run then. Otherwise, or if the resident answers [DoItYourself],
// the program starts as if nothing had been tried, with its standard input unread.
//
// A program does so if it imports the package and is linked with [Flag], on amd64 and arm64.
package handover

// Flag is the flag for the linker (cmd/link, flag -E). It names the symbol at which the program
// begins.
const Flag = "-E swiftcni_handover"

// Socket is where a resident listens: a Unix socket that keeps the bounds of messages
// (SOCK_SEQPACKET). The instructions hold the path too.
const Socket = "/run/swiftcni/resident"

// What a resident answers, in one byte: the call's exit status, which is 0 or 1, or DoItYourself.
// It gives the latter before it has read anything from the standard input. The end of the
// connection instead is the end of the resident. The caller makes the call itself then if the
// resident hadn't read the message, or if it may be made twice and its input is in the standard
// input: the resident leaves it there if that's a pipe. CNI's ADD mayn't, nor netavark's setup.
// Otherwise the caller prints an error, CNI's of code 11 (try again later) or netavark's, since the
// call may have begun. netavark's calls are those with arguments.
const DoItYourself = 255

// Streams is how many descriptors come with a message: standard input, output and error.
const Streams = 3

// MaxMessage bounds a message, in bytes. Arguments and environments are a few KiB. A resident keeps
// so much memory for each call that has just come.
const MaxMessage = 64 << 10

// Version is the form of messages, of which there's one: this number and that of the arguments,
// both a uint32 in the machine's order, and then the arguments and the environment, as the kernel
// lays them out on a process's stack: each a string that ends with a zero byte.
const Version = 1
