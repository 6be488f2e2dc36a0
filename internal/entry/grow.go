// SPDX-License-Identifier: Apache-2.0

//go:build amd64 || arm64

package entry

// Grow makes room for 24 KiB on the goroutine's stack. A stack starts with 2 KiB and doubles when it must, each time
// with a walk over all frames, and each size comes from a pool that is filled, and so touched, when it's first asked:
// in a process that lives for two milliseconds it's cheaper to grow once, while there are no frames to speak of.
func Grow()
