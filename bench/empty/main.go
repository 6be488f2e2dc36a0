// SPDX-License-Identifier: Apache-2.0

// Command empty does nothing: its cost is what Go's start-up leaves to every plugin written in Go.
package main

func main() {}
