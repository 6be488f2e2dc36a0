// SPDX-License-Identifier: Apache-2.0

// Command empty does nothing. Its cost is the start-up of every plugin that is written in Go.
package main

func main() {}
