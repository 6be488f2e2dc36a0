// SPDX-License-Identifier: Apache-2.0

package cni

import (
	"context"
	"io"

	"github.com/swiftcni/swiftcni/internal/calls"
	"github.com/swiftcni/swiftcni/internal/process"
)

// A Process is what a plugin program is started with, for [Run].
type Process struct {
	Name           string    // the plugin's, as [Name] returns it
	Env            []string  // its environment, such as "CNI_COMMAND=ADD"
	Dir            string    // its working directory, an absolute path
	Exe            string    // a path of its executable, such as "/proc/4711/exe"
	Stdin          io.Reader // the configuration
	Stdout, Stderr io.Writer
}

// Run is [Main] for a program that goes on afterwards and stands in for another process: it does
// what the process would do, and writes what that would print. An error is an *Error, which it has
// printed; the process's exit status would be 1 then, else 0. Relative
// paths in the configuration are those of p.Dir. An IPAM plugin that is a program of its own gets
// the environment and the working directory of p.
//
// It may be called from many goroutines at once. ctx is the life of the caller: an ADD that is done
// when ctx is, is taken back, since nobody hears of it. What a DEL leaves to the kernel, up to some
// 30 ms, is a goroutine's.
func Run(ctx context.Context, p Process) error {
	if p.getenv("CNI_COMMAND") == "" {
		about(p.Name, p.Stderr)
		return nil
	}
	call := process.Serve(ctx, options(p.Name, p.getenv, p.Stderr), process.Caller{Env: p.Env, Stderr: p.Stderr, Dir: p.Dir, Exe: p.Exe})
	r := request{name: p.Name, getenv: p.getenv, stdin: p.Stdin}
	if said := r.answer(call, heard{ctx, p.Stdout}, p.Stderr); said != nil {
		return said
	}
	return nil
}

// options are what a program knows of its call.
func options(name string, getenv func(string) string, stderr io.Writer) process.Options {
	return process.Options{
		Path: pathFromEnvironment(getenv),
		Warn: func(text string) { _, _ = io.WriteString(stderr, "swiftcni: "+text+"\n") },
		Call: calls.Call{Verb: getenv("CNI_COMMAND"), Plugin: name, ContainerID: getenv("CNI_CONTAINERID"), IfName: getenv("CNI_IFNAME"),
			TraceParent: getenv("TRACEPARENT")},
	}
}

func (p *Process) getenv(name string) string { return process.Getenv(p.Env, name) }

// heard is a writer whose reader lives as long as a context.
type heard struct {
	ctx context.Context
	to  io.Writer
}

func (w heard) Write(b []byte) (int, error) {
	if err := context.Cause(w.ctx); err != nil {
		return 0, err
	}
	return w.to.Write(b)
}
