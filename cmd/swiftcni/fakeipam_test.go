// SPDX-License-Identifier: Apache-2.0

package main

import (
	"encoding/json"
	"fmt"
	"io"
	"os"
	"slices"
)

// fakeIPAM is an IPAM plugin that does what the configuration's ipam object says: it writes each verb into the
// file "log", prints "answer" for ADD, and for the verbs of "failAt" fails in the manner of "fail".
func fakeIPAM(verb string, stdin io.Reader, stdout, stderr io.Writer) (status int) {
	var conf struct {
		IPAM struct {
			Log    string
			Answer json.RawMessage
			FailAt []string
			Fail   string
		}
	}
	if err := json.NewDecoder(stdin).Decode(&conf); err != nil {
		fmt.Fprintln(stderr, "fake IPAM:", err)
		return 3
	}
	ipam := conf.IPAM
	if ipam.Log != "" {
		f, err := os.OpenFile(ipam.Log, os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o644)
		if err != nil {
			fmt.Fprintln(stderr, "fake IPAM:", err)
			return 3
		}
		defer f.Close()
		fmt.Fprintf(f, "%s id=%s if=%s ns=%s args=%s\n", verb, os.Getenv("CNI_CONTAINERID"), os.Getenv("CNI_IFNAME"),
			os.Getenv("CNI_NETNS"), os.Getenv("CNI_ARGS"))
	}
	if slices.Contains(ipam.FailAt, verb) {
		return fail(ipam.Fail, stdout, stderr)
	}
	fmt.Fprintf(stderr, "fake IPAM did %s\n", verb)
	if verb == "ADD" {
		_, _ = stdout.Write(ipam.Answer)
	}
	return 0
}

func fail(manner string, stdout, stderr io.Writer) (status int) {
	switch manner {
	case "object":
		fmt.Fprint(stdout, `{"cniVersion": "1.0.0", "code": 123, "msg": "no address today", "details": "come back tomorrow"}`)
	case "garbage":
		fmt.Fprint(stdout, "panic: not JSON")
	case "stderr":
		fmt.Fprint(stderr, "out of luck")
	case "babble":
		fmt.Fprint(stdout, "lease acquired")
		return 0
	case "silence":
	}
	return 1
}
