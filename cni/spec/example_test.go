// SPDX-License-Identifier: Apache-2.0

package spec_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"log"
	"net/netip"

	"github.com/swiftcni/swiftcni/cni/spec"
)

// A result is printed in the form of the version that it names.
func ExampleResult() {
	r := &spec.Result{
		CNIVersion: "0.2.0",
		IPs: []spec.IP{{Address: netip.MustParsePrefix("10.1.0.2/24"), Gateway: netip.MustParseAddr("10.1.0.1"),
			Interface: spec.NoInterface}},
	}
	for _, version := range []string{"0.2.0", "1.0.0"} {
		r.CNIVersion = version
		text, err := r.MarshalJSON()
		if err != nil {
			log.Fatal(err)
		}
		fmt.Printf("%s\n", text)
	}
	// Output:
	// {
	//     "cniVersion": "0.2.0",
	//     "ip4": {
	//         "ip": "10.1.0.2/24",
	//         "gateway": "10.1.0.1"
	//     },
	//     "dns": {}
	// }
	// {
	//     "cniVersion": "1.0.0",
	//     "ips": [
	//         {
	//             "address": "10.1.0.2/24",
	//             "gateway": "10.1.0.1"
	//         }
	//     ]
	// }
}

// A result of any version can be read. Fields that the package doesn't know are kept.
func ExampleResult_UnmarshalJSON() {
	var r spec.Result
	err := json.Unmarshal([]byte(`{ "cniVersion": "1.1.0", "ips": [ { "address": "10.1.0.2/24" } ], "vendor": { "rack": 7 } }`), &r)
	fmt.Println(r.IPs[0].Address, r.Others, err)
	// Output: 10.1.0.2/24 "vendor":{ "rack": 7 } <nil>
}

// An error has a code of the specification and names the key at fault.
func ExampleError() {
	var r spec.Result
	err := r.UnmarshalJSON([]byte(`{ "cniVersion": "1.0.0", "ips": [ { "address": "10.1.0.2" } ] }`))
	var e *spec.Error
	if errors.As(err, &e) {
		fmt.Println(e.Code, e.Key)
		fmt.Println(e)
	}
	// Output:
	// 7 ips[0].address
	// invalid CIDR address: 10.1.0.2; ips[0].address: expected an address with a prefix length
}
