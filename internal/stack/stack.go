// SPDX-License-Identifier: Apache-2.0

//go:build amd64 || arm64

// Package stack makes room for 24 KiB on the stack of the program that imports it, before almost anything else is
// initialized: it imports nothing, so that it comes first.
//
// A stack starts with 2 KiB and doubles when it must, each time with a walk over all frames, and each size comes from a
// pool that is filled, and so touched page by page, when it's first asked. In a process that lives for two milliseconds
// it's cheaper to grow once, while there are no frames to speak of.
package stack

func init() { grow() }

func grow()
