// SPDX-License-Identifier: Apache-2.0

//go:build linux && !(amd64 || arm64)

// Package offload leaves a slow system call to a process that outlives this one, on known
// architectures.
package offload

import (
	"time"

	"golang.org/x/sys/unix"
)

// A Child is never started here.
type Child struct{}

// Send isn't known on this architecture.
func Send(int, []byte, ...int) (Child, error) { return Child{}, unix.ENOSYS }

// Linger isn't known on this architecture.
func Linger(...int) (Child, error) { return Child{}, unix.ENOSYS }

// Wait has nothing to wait for.
func (Child) Wait() {}

// Reaped is false: nothing may be offloaded here.
func Reaped() bool { return false }

// UntilStep is longer than the kernel takes to free removed objects.
func UntilStep() time.Duration { return 64 * time.Millisecond }
