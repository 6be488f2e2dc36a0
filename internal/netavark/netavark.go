// SPDX-License-Identifier: Apache-2.0

// Package netavark is a driver plugin of netavark, podman's network program (plugin-API.md of
// github.com/containers/netavark, API 1.0.0). It says a network of podman's in the words of a CNI
// configuration, has package cni do the work, and says the result in netavark's words. Podman 5 and
// 6 have no CNI any more.
//
// It keeps nothing of its own: netavark hands the whole network to each call.
package netavark

import (
	"bytes"
	"context"
	"errors"
	"io"
	"slices"
	"strconv"

	"github.com/swiftcni/swiftcni/cni"
	"github.com/swiftcni/swiftcni/internal/jsontext"
	"github.com/swiftcni/swiftcni/internal/process"
	"golang.org/x/sys/unix"
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
	if args[1] == "teardown" {
		// netavark itself is deaf to these while it tears down (since 1.15), since podman makes no second
		// teardown. Of what it hands on, Go's runtime takes back SIGTERM.
		ignore(unix.SIGINT)
		ignore(unix.SIGTERM)
	}
	err := answer(args, stdin, stdout, func(env []string, conf io.Reader, out io.Writer) error {
		getenv := func(name string) string { return process.Getenv(env, name) }
		if cni.Main(plugin, getenv, conf, out, stderr) != 0 {
			return errFailed
		}
		return nil
	})
	if err != nil {
		return 1
	}
	return 0
}

// Run is [Main] for a program that goes on afterwards and stands in for another process, as
// [cni.Run] is for CNI's calls. p's name and environment don't matter. The error has been printed.
func Run(ctx context.Context, args []string, p cni.Process) error {
	return answer(args, p.Stdin, p.Stdout, func(env []string, conf io.Reader, out io.Writer) error {
		p.Name, p.Env, p.Stdin, p.Stdout = plugin, env, conf, out
		return cni.Run(ctx, p)
	})
}

// plugin makes the calls.
const plugin = "bridge"

// A runner makes a call of the plugin, which prints its answer.
type runner func(env []string, conf io.Reader, out io.Writer) error

// errFailed is the error of a call of the plugin in this process.
var errFailed = errors.New("the call failed")

// answer does what is asked, and prints the answer, which may be an error.
func answer(args []string, stdin io.Reader, stdout io.Writer, run runner) error {
	out, c, err := read(args, stdin)
	if err == nil && c != nil {
		var conf []byte
		if conf, err = c.conf(); err == nil {
			return run(c.env(args[1], args[2]), bytes.NewReader(conf), &translator{call: c, to: stdout})
		}
	}
	if err == nil {
		_, err = stdout.Write(out)
	}
	if err != nil {
		_, _ = stdout.Write(errorText(err.Error()))
	}
	return err
}

// read returns either the answer to a question, or the call that is to be made.
func read(args []string, stdin io.Reader) (out []byte, c *call, err error) {
	program, verb, args := args[0], args[1], args[2:]
	wanted := 0
	if verb == "setup" || verb == "teardown" {
		wanted = 1
	}
	if len(args) != wanted {
		return nil, nil, errors.New(verb + ": " + strconv.Itoa(len(args)) + " arguments, expected " + strconv.Itoa(wanted))
	}
	if verb == "info" {
		w := jsontext.NewWriter(nil).Open('{')
		w.Text("version", cni.Version())
		w.Text("api_version", apiVersion)
		return append(w.Close('}').Bytes(), '\n'), nil, nil
	}
	text, err := readAll(stdin)
	if err != nil {
		return nil, nil, err
	}
	if verb == "create" {
		out, err = create(text, program)
		return out, nil, err
	}
	if c, err = readCall(text, verb == "teardown"); err != nil {
		return nil, nil, err
	}
	if verb == "setup" {
		err = c.network.belongs(program)
	}
	return nil, c, err
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

// env is the environment of the plugin's call.
func (c *call) env(verb, netns string) []string {
	command := "ADD"
	if verb == "teardown" {
		command = "DEL"
	}
	return []string{
		"CNI_COMMAND=" + command,
		"CNI_CONTAINERID=" + c.container,
		"CNI_NETNS=" + netns,
		"CNI_IFNAME=" + c.ifName,
		"CNI_PATH=/", // it must be given; no other plugin is looked for
	}
}

// errorText is the answer of a call that failed.
func errorText(text string) []byte {
	w := jsontext.NewWriter(nil).Open('{')
	w.Key("error").Str(text)
	return append(w.Close('}').Bytes(), '\n')
}
