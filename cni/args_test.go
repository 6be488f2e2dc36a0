// SPDX-License-Identifier: Apache-2.0

package cni

import (
	"strings"
	"testing"

	"github.com/swiftcni/swiftcni/internal/fault"
)

func TestArgs(t *testing.T) {
	for args, want := range map[string]string{
		"MAC=02:00:00:00:00:01;IP=10.0.0.2": "",
		"IgnoreUnknown=1;K8S_POD_NAME=p":    "",
		"K8S_POD_NAME=p;IgnoreUnknown=TRUE": "",
		"K8S_POD_NAME=p":                    `ARGS: unknown args ["K8S_POD_NAME=p"]`,
		"K=p;IgnoreUnknown=0":               `ARGS: unknown args ["K=p"]`,
		"A=B=C":                             `ARGS: invalid pair "A=B=C"`,
		"IP=10.0.0.2;":                      `ARGS: invalid pair ""`,
		"IP=x":                              `invalid IP address x`,
		"IP=;MAC=;GATEWAY=":                 "",
		"IP=x;IP=10.0.0.2":                  "",
		"IgnoreUnknown=maybe":               `boolean unmarshal error: invalid input maybe`,
	} {
		got := parseArgs(args)
		err := got.bad
		if err == nil {
			err = got.badIP
		}
		if want == "" && err != nil || want != "" && (err == nil || !strings.Contains(err.Error(), want) || fault.Of(err).Key != "CNI_ARGS") {
			t.Errorf("%q: got %v, want %q", args, err, want)
		}
	}
}

func FuzzArgs(f *testing.F) {
	f.Add("IgnoreUnknown=1;K8S_POD_NAMESPACE=a;IP=10.0.0.1")
	f.Fuzz(func(t *testing.T, args string) {
		if got := parseArgs(args); got.bad == nil {
			for _, addr := range got.addrs {
				if !addr.IsValid() || addr.Is4In6() {
					t.Fatal(addr)
				}
			}
		}
	})
}
