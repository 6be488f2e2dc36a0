// SPDX-License-Identifier: Apache-2.0

package cni

import (
	"context"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/swiftcni/swiftcni/internal/bandwidth"
	"github.com/swiftcni/swiftcni/internal/calls"
	"github.com/swiftcni/swiftcni/internal/firewall"
	"github.com/swiftcni/swiftcni/internal/jsontext"
	"github.com/swiftcni/swiftcni/internal/loopback"
	"github.com/swiftcni/swiftcni/internal/portmap"
	"github.com/swiftcni/swiftcni/internal/process"
	"github.com/swiftcni/swiftcni/internal/sbr"
	"github.com/swiftcni/swiftcni/internal/tuning"
	"github.com/swiftcni/swiftcni/internal/verbs"
)

// A plugin is what answers to one name. Verbs that it lacks succeed once the version gate is passed.
type plugin struct {
	name   string
	since  version // the first version that it speaks; the zero one is all
	add    func(context.Context, *Network, Attachment) (*Result, error)
	del    func(context.Context, *Network, Attachment) error
	check  func(context.Context, *Network, Attachment, *Result) error
	gc     func(context.Context, *Network, []Attachment) error
	status func(context.Context, *Network) error

	reads   concern // keys that it judges before it does anything, beside its own
	deaf    bool    // it has no use for CNI_ARGS, and so no opinion
	heads   bool    // plugins in its key "chain" follow it
	follows bool    // it can be a member of another's chain

	read func(*jsontext.Reader) verbs.Plugin // reads its own keys, once, for a plugin that has a room of its own

	// wrong finds what is wrong with a configuration beside what reads says. It must do without an attachment, whose zero
	// value then stands for any.
	wrong func(*Network, Attachment) error
}

// readsIPAM reports whether the plugin is one that gives addresses, of which main plugins ask them. A nil plugin isn't.
func (p *plugin) readsIPAM() bool { return p != nil && (p.name == hostLocal || p.name == static) }

// plugins lists the names that the binary answers to, by the name that it's called by.
func plugins() []plugin {
	return []plugin{
		{name: "bridge", reads: ofMain | ofMAC | ofIPAM, heads: true, wrong: wrongBridged,
			add: attachToBridge, del: detach, check: checkBridged, gc: gcBridged, status: statusBridged},
		{name: hostLocal, reads: ofIPAM, add: addHostLocal, del: delHostLocal, check: checkHostLocal, gc: gcHostLocal, status: statusHostLocal,
			wrong: func(n *Network, _ Attachment) error { return n.checkHostLocal() }},
		{name: static, reads: ofIPAM, add: addStatic, del: delStatic, check: checkStatic, status: statusStatic,
			wrong: func(n *Network, _ Attachment) error { return statusStatic(context.Background(), n) }},
		inRoom(plugin{name: "loopback", read: loopback.Read, deaf: true}),
		{name: "ptp", reads: ofMain | ofIPAM, add: attachPtP, del: detachPtP, check: checkPtP, gc: gcPtP, status: statusPtP, heads: true,
			wrong: func(n *Network, _ Attachment) error { _, err := n.pointToPoint(); return err }},
		inRoom(plugin{name: "portmap", read: portmap.Read, deaf: true, follows: true}),
		inRoom(plugin{name: "firewall", read: firewall.Read, since: version{0, 4, 0}, deaf: true, follows: true}),
		inRoom(plugin{name: "bandwidth", read: bandwidth.Read, since: version{0, 3, 0}, deaf: true, follows: true}),
		inRoom(plugin{name: "sbr", read: sbr.Read, deaf: true, follows: true}),
		inRoom(plugin{name: "tuning", read: tuning.Read, follows: true}),
	}
}

// inRoom completes a plugin that has a room of its own, which its verbs are found in.
func inRoom(p plugin) plugin {
	p.add, p.del, p.check, p.gc, p.status, p.wrong = addRoom, delRoom, checkRoom, gcRoom, statusRoom, wrongRoom
	return p
}

// wrongBridged finds what is wrong with bridge's keys.
func wrongBridged(n *Network, a Attachment) error {
	if err := n.checkBridged(); err != nil {
		return err
	}
	_, err := n.mac(a)
	return err
}

// PluginNames returns the names that [Main] serves: the links to make in a plugin directory.
func PluginNames() []string {
	var list []string
	for _, p := range plugins() {
		list = append(list, p.name)
	}
	return list
}

// programName is the binary's own.
const programName = "swiftcni"

// Name returns the name of the plugin that a program is to be, by the path that it was called by: its last element, or
// where that's no plugin's the one that its symbolic links lead to.
func Name(path string) string {
	name := filepath.Base(path)
	for base, links := name, 0; base != programName && links < maxLinks; links++ {
		if findPlugin(base) != nil {
			return base
		}
		to, err := os.Readlink(path)
		if err != nil {
			break
		}
		if !filepath.IsAbs(to) {
			to = filepath.Join(filepath.Dir(path), to)
		}
		path, base = to, filepath.Base(to)
	}
	return name
}

// maxLinks is how many symbolic links are followed, as by the kernel (MAXSYMLINKS, linux/namei.h).
const maxLinks = 40

// Main is the whole of a plugin program: it does what the environment and the input say, prints the answer,
// and returns the exit status. name is the plugin's, as [Name] returns it; the binary's own name, "swiftcni", gives way to
// the configuration's "type".
func Main(name string, getenv func(string) string, stdin io.Reader, stdout, stderr io.Writer) (exit int) {
	if getenv("CNI_COMMAND") == "" {
		about(name, stderr)
		return 0
	}
	call := process.Start(context.Background(), process.Options{
		Path: pathFromEnvironment(getenv),
		Warn: func(text string) { _, _ = io.WriteString(stderr, "swiftcni: "+text+"\n") },
		Call: calls.Call{Verb: getenv("CNI_COMMAND"), Plugin: name, ContainerID: getenv("CNI_CONTAINERID"), IfName: getenv("CNI_IFNAME")},
	})
	r := request{name: name, getenv: getenv, stdin: stdin}
	out, undo, cniVersion, err := r.serve(call)
	call.Enter(calls.Answer)
	var said *Error
	if err != nil {
		said = asError(err)
		out, exit = errorText(said, cniVersion), 1
	}
	if len(out) > 0 {
		if n, err := stdout.Write(out); err != nil {
			// An attachment that nobody hears of must not stay.
			if undo != nil {
				call.Enter(calls.Undo)
				undo()
			}
			said, exit = &Error{Code: CodeIO, Msg: "print the answer: " + err.Error(), Err: err}, 1
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
	call.Finish()
	return exit
}

func findPlugin(name string) *plugin {
	for _, p := range plugins() {
		if p.name == name {
			return &p
		}
	}
	return nil
}

// A request is what a runtime gives a plugin.
type request struct {
	name   string // the program's own
	getenv func(string) string
	stdin  io.Reader
}

// serve handles one call, in the reference's order of checks: environment, input, configuration, verb,
// version, and then the plugin's own. undo takes back what was done, in case the answer can't be given.
func (r *request) serve(ctx context.Context) (out []byte, undo func(), cniVersion string, err error) {
	verb := r.getenv("CNI_COMMAND")
	if err := checkEnvironment(verb, r.getenv); err != nil {
		return nil, nil, "", err
	}
	p := findPlugin(r.name)
	if p == nil && r.name != programName {
		return nil, nil, "", errNoPlugin(r.name)
	}
	if verb == "VERSION" {
		return versionAnswer(findPlugin(r.name)), nil, "", nil
	}
	text, err := readInput(r.stdin)
	if err != nil {
		return nil, nil, "", err
	}
	n, err := read(text, p, nil)
	if err != nil {
		return nil, nil, "", err
	}
	if !slices.Contains(commands[:], verb) {
		return nil, nil, n.cniVersion, &Error{Code: CodeInvalidEnvironment, Msg: "unknown CNI_COMMAND: " + verb, Key: "CNI_COMMAND"}
	}
	if err := n.allow(verb); err != nil {
		return nil, nil, n.cniVersion, err
	}
	if p == nil {
		if p = findPlugin(n.plugin); p == nil {
			return nil, nil, n.cniVersion, errUnknownType(n.plugin)
		}
		if n, err = read(text, p, nil); err != nil {
			return nil, nil, "", err
		}
	}
	n.serve(p)
	call := process.Of(ctx)
	call.Name(p.name, n.name)
	if err := n.speaks(p.since); err != nil {
		return nil, nil, n.cniVersion, err
	}
	a, badIP, badArgs := attachmentFromEnvironment(r.getenv)
	// DEL works with what it can read: a configuration that turned invalid must not keep an address for ever.
	if verb != "DEL" {
		if err := p.judge(verb, n); err != nil {
			return nil, nil, n.cniVersion, err
		}
		if badArgs != nil && !p.deaf {
			return nil, nil, n.cniVersion, badArgs
		}
		if badIP != nil && p.reads&ofIPAM != 0 && n.ipam.isOurs() {
			return nil, nil, n.cniVersion, badIP
		}
	}
	if !p.heads {
		call.Enter(calls.Plugin)
	}
	out, err = p.do(ctx, verb, n, a)
	if verb == "ADD" && err == nil {
		undo = func() { _ = p.detach(context.WithoutCancel(ctx), n, a) }
	}
	return out, undo, n.cniVersion, err
}

// errNoPlugin is the answer to a call by a name that's no plugin's. The configuration's "type" is no help: it may be of the
// plugin that calls this one for addresses, which would go on without end.
func errNoPlugin(name string) error {
	return &Error{Code: CodeInvalidEnvironment, Msg: quote(name) + " isn't a plugin's name: swiftcni is to be linked as one of " +
		strings.Join(PluginNames(), ", ") + ", or by another name as a link to one of these links"}
}

// judge returns what is wrong with the keys that the plugin reads.
func (p *plugin) judge(verb string, n *Network) error {
	of := p.reads | ofEach
	if verb == "GC" {
		of |= ofGC
	}
	return n.wrong(of)
}

func (p *plugin) do(ctx context.Context, verb string, n *Network, a Attachment) ([]byte, error) {
	switch {
	case verb == "ADD":
		res, err := p.attach(ctx, n, a)
		if err != nil {
			return nil, err
		}
		process.Of(ctx).Enter(calls.Answer)
		if res == n.prev && n.prevRaw != nil { // it's passed on as it came
			return n.prevRaw, nil
		}
		return res.MarshalJSON()
	case verb == "DEL":
		return nil, p.detach(ctx, n, a)
	case verb == "CHECK":
		return nil, p.inspect(ctx, n, a, n.prev)
	case verb == "GC":
		return nil, p.collect(ctx, n, n.valid)
	case verb == "STATUS":
		return nil, p.report(ctx, n)
	}
	return nil, nil
}
