// SPDX-License-Identifier: Apache-2.0

package cni

import (
	"io"
	"slices"
	"strings"

	"github.com/swiftcni/swiftcni/cni/spec"
	"github.com/swiftcni/swiftcni/internal/names"
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
	{name: "CNI_CONTAINERID", needs: [...]need{required, required, required, ignored, ignored}, problem: containerIDError},
	{name: "CNI_NETNS", needs: [...]need{required, required, optional, ignored, ignored}},
	{name: "CNI_IFNAME", needs: [...]need{required, required, required, ignored, ignored}, problem: ifNameError},
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

// attachmentFromEnvironment reads the variables that say which attachment is meant. badIP is what is wrong with the addresses
// in CNI_ARGS, for a plugin that gives some.
func attachmentFromEnvironment(getenv func(string) string) (a Attachment, badIP, badArgs error) {
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
	badIP, badArgs = parseArgs(&a)
	return a, badIP, badArgs
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
	text := make([]byte, 0, 4096)
	for {
		if len(text) == cap(text) {
			text = append(text, 0)[:len(text)]
		}
		n, err := stdin.Read(text[len(text):cap(text)])
		text = text[:len(text)+n]
		if len(text) > maxInput {
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

// checkAttachment validates what an embedder fills in; the plugin's environment has been through the same rules.
func checkAttachment(a Attachment) error {
	if a.ContainerID == "" {
		return &Error{Code: CodeInvalidEnvironment, Msg: "required env variables [CNI_CONTAINERID] missing", Key: "CNI_CONTAINERID"}
	}
	if err := containerIDError(a.ContainerID); err != nil {
		return err
	}
	if err := ifNameError(a.IfName); err != nil {
		return err
	}
	return nil
}

func containerIDError(id string) *Error {
	if validID(id) {
		return nil
	}
	return &Error{Code: CodeInvalidEnvironment, Msg: "invalid characters in containerID", Details: id, Key: "CNI_CONTAINERID"}
}

func ifNameError(name string) *Error {
	problem := names.LinkProblem(name)
	if problem == "" {
		return nil
	}
	e := &Error{Code: CodeInvalidEnvironment, Msg: problem, Key: "CNI_IFNAME"}
	if len(name) > names.MaxLink {
		e.Details = "interface name should be less than 16 characters"
	}
	return e
}

// validID is [a-zA-Z0-9][a-zA-Z0-9_.-]*, the rule of container IDs and network names. Both become names of
// files, and neither can be "." or "..".
func validID(s string) bool {
	if s == "" {
		return false
	}
	for i := range len(s) {
		c := s[i]
		alphanumeric := c >= '0' && c <= '9' || c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z'
		if !alphanumeric && (i == 0 || c != '_' && c != '.' && c != '-') {
			return false
		}
	}
	return true
}
