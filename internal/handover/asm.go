// SPDX-License-Identifier: Apache-2.0

//go:build amd64 || arm64

package handover

import _ "github.com/swiftcni/swiftcni/internal/entry" // the instructions go on there

// died is what the instructions print if the resident ends before its answer to a call of CNI's.
//
//lint:ignore U1000 swiftcni_handover reads it
var died = `{"cniVersion":"1.1.0","code":11,"msg":"the resident process ended during the call","details":"DEL takes back what the call may have done"}` + "\n"

// diedDriving is the same for a call of netavark's.
//
//lint:ignore U1000 swiftcni_handover reads it
var diedDriving = `{"error":"the resident process ended during the call; teardown takes back what the call may have done"}` + "\n"
