// SPDX-License-Identifier: Apache-2.0

package cni

import (
	"io"
	"slices"
	"strings"

	"github.com/swiftcni/swiftcni/cni/spec"
	"github.com/swiftcni/swiftcni/internal/netconf"
)

// Attachment is a container's place on a network, which package spec explains.
type Attachment = spec.Attachment

// need says what a verb wants of a variable.
type need byte

const (
	ignored need = iota
	optional
	required
)

// commands that look at more than the command, in the order of the table's columns.
var commands = [5]string{"ADD", "CHECK", "DEL", "GC", "STATUS"}

// variables is the specification's table, in the order in which the variables are looked at. CNI_COMMAND, which
// every verb has, isn't in it.
var variables = [...]struct {
	name    string
	needs   [len(commands)]need
	problem func(string) *Error
}{
	{name: "CNI_CONTAINERID", needs: [...]need{required, required, required, ignored, ignored}, problem: netconf.ContainerIDError},
	{name: "CNI_NETNS", needs: [...]need{required, required, optional, ignored, ignored}},
	{name: "CNI_IFNAME", needs: [...]need{required, required, required, ignored, ignored}, problem: netconf.IfNameError},
	{name: "CNI_ARGS", needs: [...]need{optional, optional, optional, ignored, ignored}},
	{name: "CNI_PATH", needs: [...]need{required, required, required, required, required}},
}

// checkEnvironment walks the table: a bad value ends it at once, missing ones are named together. VERSION needs
// nothing, and a verb that isn't one is refused after the configuration.
func checkEnvironment(verb string, getenv func(string) string) error {
	column := slices.Index(commands[:], verb)
	if column < 0 {
		return nil
	}
	var missing []string
	for _, v := range variables {
		value := getenv(v.name)
		switch {
		case v.needs[column] != required:
		case value == "":
			missing = append(missing, v.name)
		case v.problem != nil:
			if err := v.problem(value); err != nil {
				return err
			}
		}
	}
	if missing != nil {
		return &Error{Code: CodeInvalidEnvironment, Msg: "required env variables [" + strings.Join(missing, ",") + "] missing",
			Key: missing[0]}
	}
	return nil
}

// attachmentFromEnvironment reads the variables that say which attachment is meant. Its MAC stays a
// text, which isn't read before it's known that no other wins.
func attachmentFromEnvironment(getenv func(string) string) (a Attachment, args arguments) {
	a = Attachment{
		ContainerID: getenv("CNI_CONTAINERID"),
		IfName:      getenv("CNI_IFNAME"),
		NetNS:       getenv("CNI_NETNS"),
		Args:        getenv("CNI_ARGS"),
	}
	switch strings.ToLower(getenv("CNI_NETNS_OVERRIDE")) {
	case "1", "true":
		a.SharedNetNS = true
	}
	args = parseArgs(a.Args)
	a.Addrs = args.addrs
	return a, args
}

// pathFromEnvironment reads where plugins are.
func pathFromEnvironment(getenv func(string) string) []string {
	if path := getenv("CNI_PATH"); path != "" {
		return strings.Split(path, ":")
	}
	return nil
}

// readInput reads the configuration, which is bounded: nobody's input may fill the memory of a root process.
func readInput(stdin io.Reader) ([]byte, error) {
	size := 4095
	if known, ok := stdin.(interface{ Len() int }); ok {
		size = min(known.Len(), netconf.MaxInput)
	}
	text := make([]byte, 0, size+1) // one more, for the end
	for {
		if len(text) == cap(text) {
			text = append(text, 0)[:len(text)]
		}
		n, err := stdin.Read(text[len(text):cap(text)])
		text = text[:len(text)+n]
		if len(text) > netconf.MaxInput {
			return nil, &Error{Code: CodeIO, Msg: "error reading from stdin: the configuration is larger than 16 MiB"}
		}
		if err == io.EOF {
			return text, nil
		}
		if err != nil {
			return nil, &Error{Code: CodeIO, Msg: "error reading from stdin: " + err.Error(), Err: err}
		}
	}
}
