// SPDX-License-Identifier: Apache-2.0

package main

import (
	"fmt"
	"os"
	"runtime"
)

// busyNote says that times are a busy machine's, or nothing. The load is a mean over a minute, of
// processes that run or want to.
func busyNote() string {
	var load float64
	text, err := os.ReadFile("/proc/loadavg")
	if err == nil {
		_, err = fmt.Sscan(string(text), &load)
	}
	if err != nil || load <= float64(runtime.NumCPU()) {
		return ""
	}
	return fmt.Sprintf("This machine is busy: %.0f processes want its %d processors, and the times above include their waiting.", load, runtime.NumCPU())
}
