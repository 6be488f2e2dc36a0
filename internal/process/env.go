// SPDX-License-Identifier: Apache-2.0

package process

import "strings"

// Getenv returns a variable of an environment, or "". If it's there twice, the first counts, as in
// package os.
func Getenv(env []string, name string) string {
	for _, kv := range env {
		if value, ok := strings.CutPrefix(kv, name); ok && value != "" && value[0] == '=' {
			return value[1:]
		}
	}
	return ""
}
