// SPDX-License-Identifier: Apache-2.0

//go:build amd64 || arm64

// Package stack makes room for 24 KiB on the stack of the program that imports it, before almost
// anything else is initialized. It imports nothing, so it comes first.
//
// A stack starts with 2 KiB and doubles when it must, each time with a walk over all frames. Each
// size comes from a pool that is filled, and so touched page by page, on its first use. In a
// process that lives for two milliseconds it's cheaper to grow once, while there are hardly any
// frames.
package stack

func init() { grow() }

func grow()
