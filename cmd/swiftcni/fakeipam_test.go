// SPDX-License-Identifier: Apache-2.0

package main

import (
	"encoding/json"
	"fmt"
	"io"
	"os"
	"slices"
)

// fakeConf is what the configuration tells the tests' IPAM plugin.
type fakeConf struct {
	Bridge string
	IPAM   struct {
		Log    string          // a line is added for each call
		Look   string          // what a call finds is added, as a [sight]
		NetNS  string          // where it looks when CNI_NETNS is empty
		Answer json.RawMessage // of ADD
		FailAt []string        // verbs that fail
		Fail   string          // how
	}
}

// fakeIPAM is an IPAM plugin that does what the configuration's ipam object says: it writes each
// verb into the file "log", prints "answer" for ADD, and for the verbs of "failAt" fails in the
// manner of "fail".
func fakeIPAM(verb string, stdin io.Reader, stdout, stderr io.Writer) (status int) {
	var conf fakeConf
	if err := json.NewDecoder(stdin).Decode(&conf); err != nil {
		fmt.Fprintln(stderr, "fake IPAM:", err)
		return 3
	}
	if err := conf.record(verb); err != nil {
		fmt.Fprintln(stderr, "fake IPAM:", err)
		return 3
	}
	if slices.Contains(conf.IPAM.FailAt, verb) {
		return fail(conf.IPAM.Fail, stdout, stderr)
	}
	fmt.Fprintf(stderr, "fake IPAM did %s\n", verb)
	if verb == "ADD" {
		_, _ = stdout.Write(conf.IPAM.Answer)
	}
	return 0
}

func (c *fakeConf) record(verb string) error {
	if c.IPAM.Log != "" {
		line := fmt.Sprintf("%s id=%s if=%s ns=%s args=%s\n", verb, os.Getenv("CNI_CONTAINERID"), os.Getenv("CNI_IFNAME"),
			os.Getenv("CNI_NETNS"), os.Getenv("CNI_ARGS"))
		if err := appendTo(c.IPAM.Log, line); err != nil {
			return err
		}
	}
	if c.IPAM.Look == "" {
		return nil
	}
	netns := os.Getenv("CNI_NETNS")
	if netns == "" {
		netns = c.IPAM.NetNS
	}
	s, err := look(verb, netns, os.Getenv("CNI_IFNAME"), c.Bridge)
	if err != nil {
		return err
	}
	text, err := json.Marshal(s)
	if err != nil {
		return err
	}
	return appendTo(c.IPAM.Look, string(text)+"\n")
}

func appendTo(path, text string) error {
	f, err := os.OpenFile(path, os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o644)
	if err != nil {
		return err
	}
	defer f.Close()
	_, err = f.WriteString(text)
	return err
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
