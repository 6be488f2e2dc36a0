// SPDX-License-Identifier: Apache-2.0

package cni

import "testing"

func TestErrorPrintsAsTheSpecificationSays(t *testing.T) {
	got := errorText(&Error{Code: 7, Msg: "a <b>", Details: "c"}, "1.0.0")
	const want = "{\n    \"cniVersion\": \"1.0.0\",\n    \"code\": 7,\n    \"msg\": \"a \\u003cb\\u003e\",\n    \"details\": \"c\"\n}"
	if string(got) != want {
		t.Errorf("got %s", got)
	}
}
