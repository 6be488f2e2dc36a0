// SPDX-License-Identifier: Apache-2.0

package cni

import (
	"io"
	"net/netip"
	"slices"
	"strings"
	"unicode"
)

// An Attachment is a container's place on a network. The specification identifies it by network,
// ContainerID and IfName.
type Attachment struct {
	ContainerID string // [a-zA-Z0-9][a-zA-Z0-9_.-]*
	IfName      string // of the link in the container, at most 15 bytes
	NetNS       string // path of the container's network namespace; Detach does without

	MAC   string       // wanted for the container's link; the configuration's own wishes win
	Addrs []netip.Addr // wanted, beside those that the configuration asks for

	Path []string // where to look for an IPAM plugin that isn't host-local
	Args string   // CNI_ARGS, for that plugin

	// SharedNetNS says that the caller means its own namespace when NetNS is that, which otherwise is an
	// error (CNI_NETNS_OVERRIDE).
	SharedNetNS bool
}

// need says what a verb wants of a variable.
type need byte

const (
	ignored need = iota
	optional
	required
)

// variables is the specification's table, in the order in which the variables are looked at.
var variables = [...]struct {
	name              string
	verbs             [5]need // ADD, CHECK, DEL, GC, STATUS
	problem           func(string) *Error
	requiredAtVERSION bool
}{
	{name: "CNI_COMMAND", verbs: [5]need{required, required, required, required, required}, requiredAtVERSION: true},
	{name: "CNI_CONTAINERID", verbs: [5]need{required, required, required}, problem: containerIDError},
	{name: "CNI_NETNS", verbs: [5]need{required, required, optional}},
	{name: "CNI_IFNAME", verbs: [5]need{required, required, required}, problem: ifNameError},
	{name: "CNI_ARGS", verbs: [5]need{optional, optional, optional}},
	{name: "CNI_PATH", verbs: [5]need{required, required, required, required, required}},
}

var verbs = [5]string{"ADD", "CHECK", "DEL", "GC", "STATUS"}

// checkEnvironment walks the table: a bad value ends it at once, missing ones are named together.
// An unknown verb needs what ADD needs of nothing but the command; it's refused after the configuration.
func checkEnvironment(verb string, getenv func(string) string) error {
	column := slices.Index(verbs[:], verb)
	var missing []string
	for _, v := range variables {
		want := ignored
		switch {
		case column >= 0:
			want = v.verbs[column]
		case v.requiredAtVERSION:
			want = required
		}
		value := getenv(v.name)
		if want == required && value == "" {
			missing = append(missing, v.name)
		}
		if want == required && value != "" && v.problem != nil {
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

// attachmentFromEnvironment reads the variables that say which attachment is meant.
func attachmentFromEnvironment(getenv func(string) string) (Attachment, error) {
	a := Attachment{
		ContainerID: getenv("CNI_CONTAINERID"),
		IfName:      getenv("CNI_IFNAME"),
		NetNS:       getenv("CNI_NETNS"),
		Args:        getenv("CNI_ARGS"),
	}
	if path := getenv("CNI_PATH"); path != "" {
		a.Path = strings.Split(path, ":")
	}
	switch strings.ToLower(getenv("CNI_NETNS_OVERRIDE")) {
	case "1", "true":
		a.SharedNetNS = true
	}
	return a, a.parseArgs()
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

// check validates what an embedder fills in; the plugin's environment has been through the same rules.
func (a *Attachment) check() error {
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
	problem := ifNameProblem(name)
	if problem == "" {
		return nil
	}
	e := &Error{Code: CodeInvalidEnvironment, Msg: problem, Key: "CNI_IFNAME"}
	if len(name) > maxIfName {
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

// ifNameProblem checks a link's name as the kernel would (dev_valid_name, net/core/dev.c).
func ifNameProblem(name string) string {
	switch {
	case name == "":
		return "interface name is empty"
	case len(name) > maxIfName:
		return "interface name is too long"
	case name == "." || name == "..":
		return "interface name is . or .."
	case strings.ContainsAny(name, "/:") || strings.ContainsFunc(name, unicode.IsSpace):
		return "interface name contains / or : or whitespace characters"
	case strings.ContainsFunc(name, unicode.IsControl) || strings.ContainsRune(name, '%'):
		return "interface name contains % or control characters"
	}
	return ""
}
