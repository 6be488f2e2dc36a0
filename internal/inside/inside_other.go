// SPDX-License-Identifier: Apache-2.0

//go:build linux && !(amd64 || arm64)

package inside

func socket(ns, own, protocol int, writes []Write) (fd int, err error) {
	return socketOnThread(ns, own, protocol, writes)
}
