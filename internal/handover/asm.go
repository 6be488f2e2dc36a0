// SPDX-License-Identifier: Apache-2.0

//go:build amd64 || arm64

package handover

import _ "github.com/swiftcni/swiftcni/internal/entry" // the instructions go on there

// died and diedDriving are what the instructions print if the resident ends before its answer: CNI's
// error, and that of netavark's drivers.
//
//lint:ignore U1000 swiftcni_handover reads them
var (
	died        = `{"cniVersion":"1.1.0","code":11,"msg":"the resident process ended during the call","details":"DEL takes back what the call may have done"}` + "\n"
	diedDriving = `{"error":"the resident process ended during the call; teardown takes back what the call may have done"}` + "\n"
)
