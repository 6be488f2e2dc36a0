// SPDX-License-Identifier: Apache-2.0

package box

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
)

// KernelStacks shows where in the kernel each thread of a process is, for processes that hang:
// proc(5), syscall and stack.
func KernelStacks(pid int) string {
	threads, _ := filepath.Glob(fmt.Sprintf("/proc/%d/task/*", pid))
	var all []string
	for _, t := range threads {
		call, _ := os.ReadFile(filepath.Join(t, "syscall"))
		stack, _ := os.ReadFile(filepath.Join(t, "stack"))
		frames := strings.Fields(strings.ReplaceAll(string(stack), "[<0>]", ""))
		all = append(all, "system call "+strings.TrimSpace(string(call))+" in "+strings.Join(frames, " "))
	}
	return strings.Join(all, "; ")
}
