// SPDX-License-Identifier: Apache-2.0

package cni

import (
	"context"
	"io"
	"slices"
	"strconv"
	"strings"

	"github.com/swiftcni/swiftcni/internal/calls"
	"github.com/swiftcni/swiftcni/internal/fault"
	"github.com/swiftcni/swiftcni/internal/netconf"
	"github.com/swiftcni/swiftcni/internal/process"
	"github.com/swiftcni/swiftcni/internal/roster"
)

// Main is the whole of a plugin program: it does what the environment and the input say, prints the
// answer, and returns the exit status. name is the plugin's, as [Name] returns it; the binary's own
// name, "swiftcni", gives way to the configuration's "type".
//
// The process must end then: it has sockets open, and children that do the rest of the work. A
// program that goes on calls [Call]. Main waits as the verbs do, with nothing to bound the locks,
// and for the end of stdin.
func Main(name string, getenv func(string) string, stdin io.Reader, stdout, stderr io.Writer) (exit int) {
	if getenv("CNI_COMMAND") == "" {
		about(name, stderr)
		return 0
	}
	call := process.Start(context.Background(), options(name, getenv, stderr))
	r := request{name: name, getenv: getenv, stdin: stdin}
	if r.answer(call, stdout, stderr) != nil {
		exit = 1
	}
	call.Finish()
	return exit
}

// A request is what a runtime gives a plugin.
type request struct {
	name   string // the program's own
	getenv func(string) string
	stdin  io.Reader
}

// answer makes the call, and prints its answer. It returns the error that the answer is.
func (r *request) answer(call *process.Call, stdout, stderr io.Writer) (said *Error) {
	out, undo, cniVersion, err := r.serve(call)
	call.Enter(calls.Answer)
	if err != nil {
		said = fault.Of(err)
		out = errorText(said, cniVersion)
	}
	if len(out) > 0 {
		if n, err := stdout.Write(out); err != nil {
			// An attachment that nobody hears of must not stay.
			if undo != nil {
				call.Enter(calls.Undo)
				undo()
			}
			said = &Error{Code: CodeIO, Msg: "print the answer: " + err.Error(), Err: err}
			if n == 0 { // else what's there can't be made an object any more
				_, _ = stdout.Write(errorText(said, cniVersion))
			}
			_, _ = io.WriteString(stderr, "swiftcni: "+said.Msg+"\n")
		}
	}
	if said != nil {
		call.End(said.Code, said.Error())
	} else {
		call.End(0, "")
	}
	return said
}

// serve handles one call, in the reference's order of checks: environment, input, configuration,
// verb, version, and then the plugin's own. undo takes back what was done, in case the answer can't
// be given.
func (r *request) serve(ctx context.Context) (out []byte, undo func(), cniVersion string, err error) {
	verb := r.getenv("CNI_COMMAND")
	if err := checkEnvironment(verb, r.getenv); err != nil {
		return nil, nil, "", err
	}
	p := findPlugin(r.name)
	if p == nil && r.name != roster.Program {
		return nil, nil, "", errNoPlugin(r.name)
	}
	if verb == "VERSION" {
		return versionAnswer(findPlugin(r.name)), nil, "", nil
	}
	text, err := readInput(r.stdin)
	if err != nil {
		return nil, nil, "", err
	}
	conf, err := netconf.Read(text, p.ipam(), nil)
	if err != nil {
		return nil, nil, "", err
	}
	if !slices.Contains(commands[:], verb) {
		return nil, nil, conf.CNIVersion, &Error{Code: CodeInvalidEnvironment, Msg: "unknown CNI_COMMAND: " + verb, Key: "CNI_COMMAND"}
	}
	if err := conf.Allow(verb); err != nil {
		return nil, nil, conf.CNIVersion, err
	}
	if p == nil {
		if p = findPlugin(conf.Type); p == nil {
			return nil, nil, conf.CNIVersion, errUnknownType(conf.Type)
		}
		if conf, err = netconf.Read(text, p.ipam(), nil); err != nil {
			return nil, nil, "", err
		}
	}
	a, args := attachmentFromEnvironment(r.getenv)
	if verb == "ADD" || verb == "CHECK" { // the others have no use for it, and so no opinion
		conf.ArgsMAC = args.mac
	}
	n := newNetwork(conf, p)
	call := process.Of(ctx)
	call.Name(p.name, conf.Name)
	if err := conf.Speaks(p.since); err != nil {
		return nil, nil, conf.CNIVersion, err
	}
	// DEL works with what it can read: a configuration that turned invalid must not keep an address
	// for ever.
	if verb != "DEL" {
		if err := p.judge(verb, conf); err != nil {
			return nil, nil, conf.CNIVersion, err
		}
		givesIPs := p.reads&netconf.OfIPAM != 0 && conf.IPAM.IsOurs()
		if args.bad != nil && (!p.deaf || givesIPs) {
			return nil, nil, conf.CNIVersion, args.bad
		}
		if args.badIP != nil && givesIPs {
			return nil, nil, conf.CNIVersion, args.badIP
		}
	}
	if !p.heads {
		call.Enter(calls.Plugin)
	}
	out, err = n.do(ctx, verb, a)
	if verb == "ADD" && err == nil {
		undo = func() { _ = n.detach(context.WithoutCancel(ctx), &n.told, a) }
	}
	return out, undo, conf.CNIVersion, err
}

// errNoPlugin is the answer to a call by a name that's no plugin's. The configuration's "type" is
// no help: it may be of the plugin that calls this one for addresses, which would go on without
// end.
func errNoPlugin(name string) error {
	return &Error{Code: CodeInvalidEnvironment, Msg: strconv.Quote(name) + " isn't a plugin's name: swiftcni is to be linked as one of " +
		strings.Join(roster.Names(), ", ") + ", or by another name as a link to one of these links"}
}

// judge returns what is wrong with the keys that the plugin reads.
func (p *plugin) judge(verb string, conf *netconf.Network) *Error {
	of := p.reads | netconf.OfEach
	if verb == "GC" {
		of |= netconf.OfGC
	}
	return conf.Wrong(of)
}

// do runs a verb, and returns what is printed.
func (n *Network) do(ctx context.Context, verb string, a Attachment) ([]byte, error) {
	c := &n.told
	switch verb {
	case "ADD":
		res, err := n.attach(ctx, c, a)
		if err != nil {
			return nil, err
		}
		process.Of(ctx).Enter(calls.Answer)
		if res == c.Prev && c.PrevText != nil { // it's passed on as it came
			return c.PrevText, nil
		}
		return res.MarshalJSON()
	case "DEL":
		return nil, n.detach(ctx, c, a)
	case "CHECK":
		return nil, n.check(ctx, c, a)
	case "GC":
		if n.conf.Valid == nil {
			return nil, n.reclaim(ctx, c)
		}
		return nil, n.collect(ctx, c, n.conf.Valid)
	case "STATUS":
		return nil, n.status(ctx, c)
	}
	return nil, nil
}
