// SPDX-License-Identifier: Apache-2.0

// Package netavark is a driver plugin of netavark, podman's network program (plugin-API.md of
// github.com/containers/netavark, API 1.0.0). It says a network of podman's in the words of a CNI
// configuration, has package cni do the work, and says the result in netavark's words. Podman 5 and
// 6 have no CNI any more.
//
// It keeps nothing of its own: netavark hands the whole network to each call.
package netavark

import (
	"errors"
	"io"
	"slices"
	"strconv"
	"strings"

	"github.com/swiftcni/swiftcni/cni"
	"github.com/swiftcni/swiftcni/internal/jsontext"
)

// apiVersion is the only version of the protocol.
const apiVersion = "1.0.0"

// verbs are the driver's commands, which are a program's first argument.
var verbs = [...]string{"info", "create", "setup", "teardown"}

// IsCall reports whether a program's arguments, its own name the first of them, are a call of
// netavark's. CNI's calls have none.
func IsCall(args []string) bool { return len(args) > 1 && slices.Contains(verbs[:], args[1]) }

// Main does what the arguments and the input say, prints the answer, and returns the exit status.
// As with [cni.Main], the process must end then.
func Main(args []string, stdin io.Reader, stdout, stderr io.Writer) (exit int) {
	out, err := answer(args[1], args[2:], stdin, stdout, stderr)
	if err == nil {
		_, err = stdout.Write(out)
	}
	if err == nil {
		return 0
	}
	var said *saidError
	if !errors.As(err, &said) {
		_, _ = stdout.Write(errorText(err.Error()))
	}
	return 1
}

// answer returns what is left to print.
func answer(verb string, args []string, stdin io.Reader, stdout, stderr io.Writer) ([]byte, error) {
	wanted := 0
	if verb == "setup" || verb == "teardown" {
		wanted = 1
	}
	if len(args) != wanted {
		return nil, errors.New(verb + ": " + strconv.Itoa(len(args)) + " arguments, expected " + strconv.Itoa(wanted))
	}
	if verb == "info" {
		w := jsontext.NewWriter(nil).Open('{')
		w.Text("version", cni.Version())
		w.Text("api_version", apiVersion)
		return append(w.Close('}').Bytes(), '\n'), nil
	}
	text, err := readAll(stdin)
	if err != nil {
		return nil, err
	}
	if verb == "create" {
		return create(text)
	}
	c, err := readCall(text, verb == "teardown")
	if err != nil {
		return nil, err
	}
	return nil, c.do(verb, args[0], stdout, stderr)
}

// maxInput bounds the input, in bytes.
const maxInput = 4 << 20

func readAll(r io.Reader) ([]byte, error) {
	text, err := io.ReadAll(io.LimitReader(r, maxInput+1))
	if err != nil {
		return nil, errors.New("read the input: " + err.Error())
	}
	if len(text) > maxInput {
		return nil, errors.New("the input is longer than 4 MiB")
	}
	return text, nil
}

// do makes the call as the plugin bridge.
func (c *call) do(verb, netns string, stdout, stderr io.Writer) error {
	conf, err := c.conf()
	if err != nil {
		return err
	}
	command := "ADD"
	if verb == "teardown" {
		command = "DEL"
	}
	getenv := func(name string) string {
		switch name {
		case "CNI_COMMAND":
			return command
		case "CNI_CONTAINERID":
			return c.container
		case "CNI_NETNS":
			return netns
		case "CNI_IFNAME":
			return c.ifName
		case "CNI_PATH":
			return "/" // it must be given; no other plugin is looked for
		}
		return ""
	}
	out := &translator{call: c, to: stdout}
	if cni.Main("bridge", getenv, strings.NewReader(string(conf)), out, stderr) != 0 {
		return &saidError{}
	}
	return nil
}

// saidError is the error of a call whose answer is printed already.
type saidError struct{}

func (*saidError) Error() string { return "the call failed" }

// errorText is the answer of a call that failed.
func errorText(text string) []byte {
	w := jsontext.NewWriter(nil).Open('{')
	w.Key("error").Str(text)
	return append(w.Close('}').Bytes(), '\n')
}
