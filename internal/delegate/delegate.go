// SPDX-License-Identifier: Apache-2.0

// Package delegate has addresses given by another program: an IPAM plugin's executable, which is
// run by the specification's delegation protocol (section 4).
package delegate

import (
	"bytes"
	"context"
	"errors"
	"io"
	"math"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/swiftcni/swiftcni/cni/spec"
	"github.com/swiftcni/swiftcni/internal/fault"
	"github.com/swiftcni/swiftcni/internal/jsontext"
	"github.com/swiftcni/swiftcni/internal/netconf"
	"github.com/swiftcni/swiftcni/internal/process"
	"github.com/swiftcni/swiftcni/internal/roster"
	"github.com/swiftcni/swiftcni/internal/verbs"
	"golang.org/x/sys/unix"
)

// A Plugin is the IPAM plugin of a network. The first verb looks for its program, and each runs it.
type Plugin struct {
	conf  *netconf.Network
	found *Program
}

// Of is the IPAM plugin that a network names.
func Of(n *netconf.Network) *Plugin { return &Plugin{conf: n} }

// Wrong is nil: only the program can tell.
func (*Plugin) Wrong(spec.Attachment) *spec.Error { return nil }

// Add asks for addresses.
func (p *Plugin) Add(ctx context.Context, _ *verbs.Call, a spec.Attachment) (*spec.Result, error) {
	program, err := p.Find(ctx)
	if err != nil {
		return nil, err
	}
	return program.Add(ctx, a)
}

// Del gives the addresses back.
func (p *Plugin) Del(ctx context.Context, _ *verbs.Call, a spec.Attachment) error {
	return p.do(ctx, "DEL", a)
}

// Check asks whether the addresses are the attachment's.
func (p *Plugin) Check(ctx context.Context, _ *verbs.Call, a spec.Attachment) error {
	return p.do(ctx, "CHECK", a)
}

// GC passes GC on, as the specification demands, with the configuration as it came.
func (p *Plugin) GC(ctx context.Context, _ *verbs.Call, _ []spec.Attachment) error {
	return p.do(ctx, "GC", spec.Attachment{})
}

// Reclaim is GC: which of its addresses are the dead's the program must know.
func (p *Plugin) Reclaim(ctx context.Context, _ *verbs.Call) error {
	return p.do(ctx, "GC", spec.Attachment{})
}

// Status asks whether the program can give addresses.
func (p *Plugin) Status(ctx context.Context, _ *verbs.Call) error {
	if _, err := p.Find(ctx); err != nil {
		return fault.Unavailable("the IPAM plugin can't be run", err)
	}
	return p.do(ctx, "STATUS", spec.Attachment{})
}

func (p *Plugin) do(ctx context.Context, verb string, a spec.Attachment) error {
	program, err := p.Find(ctx)
	if err != nil {
		return err
	}
	_, err = program.run(ctx, verb, a)
	return err
}

// A Program is an IPAM plugin's executable.
type Program struct {
	name, path string
	conf       *netconf.Network
}

// Find searches CNI_PATH for the network's IPAM plugin. A file that can't be executed doesn't hide
// a good one behind it.
func (p *Plugin) Find(ctx context.Context) (*Program, error) {
	if p.found != nil {
		return p.found, nil
	}
	name, dirs := p.conf.IPAM.Plugin, process.Of(ctx).Path()
	switch {
	case name == "":
		return nil, fault.Key("ipam.type", "no plugin name provided")
	case strings.ContainsAny(name, `/\`):
		return nil, fault.Key("ipam.type", "invalid plugin name: "+name)
	case len(dirs) == 0:
		return nil, &spec.Error{Code: spec.CodeInvalidEnvironment, Msg: "no paths provided", Key: "CNI_PATH"}
	}
	for _, dir := range dirs {
		if dir == "" {
			continue
		}
		path := filepath.Join(dir, name)
		var st unix.Stat_t
		if unix.Stat(path, &st) == nil && st.Mode&unix.S_IFMT == unix.S_IFREG && st.Mode&0o111 != 0 {
			if err := refuseOurselves(process.Of(ctx).Exe(), path, &st); err != nil {
				return nil, err
			}
			p.found = &Program{name, path, p.conf}
			return p.found, nil
		}
	}
	return nil, &spec.Error{Code: spec.CodeInvalidNetwork, Key: "ipam.type",
		Msg: "failed to find plugin " + strconv.Quote(name) + " in path [" + strings.Join(dirs, " ") + "]"}
}

// refuseOurselves refuses a delegate that's this program again, unless a link makes it one of its
// IPAM plugins: it would delegate to itself without end.
func refuseOurselves(exe, path string, st *unix.Stat_t) error {
	var own unix.Stat_t
	if unix.Stat(exe, &own) != nil || own.Dev != st.Dev || own.Ino != st.Ino {
		return nil
	}
	switch roster.Name(path) {
	case netconf.HostLocal, netconf.Static, netconf.DHCP:
		return nil
	}
	return fault.Key("ipam.type", strconv.Quote(path)+" is swiftcni itself, which gives addresses as host-local, static and dhcp alone")
}

// run executes the program with the configuration as it came and returns what it printed.
func (p *Program) run(ctx context.Context, verb string, a spec.Attachment) ([]byte, error) {
	in, err := inputFile(p.conf.Input())
	if err != nil {
		return nil, fault.Wrap("prepare input for plugin "+strconv.Quote(p.name), err)
	}
	defer in.Close()
	outR, outW, err := os.Pipe()
	if err != nil {
		return nil, fault.Wrap("run plugin "+strconv.Quote(p.name), err)
	}
	defer outR.Close()
	errR, errW, err := os.Pipe()
	if err != nil {
		outW.Close()
		return nil, fault.Wrap("run plugin "+strconv.Quote(p.name), err)
	}
	defer errR.Close()
	child, err := os.StartProcess(p.path, []string{p.path}, &os.ProcAttr{
		Dir:   process.Of(ctx).Dir(),
		Env:   delegateEnv(ctx, verb, a),
		Files: []*os.File{in, outW, errW},
	})
	outW.Close()
	errW.Close()
	if err != nil {
		return nil, fault.Wrap("failed to run plugin "+strconv.Quote(p.name), err)
	}
	stop := context.AfterFunc(ctx, func() {
		_ = child.Kill()
		// Its own children may hold the streams open.
		_, _ = outR.SetReadDeadline(time.Now()), errR.SetReadDeadline(time.Now())
	})
	defer stop()
	said := make(chan []byte, 1)
	go func() {
		text, _ := io.ReadAll(io.LimitReader(errR, netconf.MaxInput))
		var rest [512]byte
		for err := error(nil); err == nil; { // or the program would wait for a reader
			_, err = errR.Read(rest[:])
		}
		said <- text
	}()
	out, readErr := io.ReadAll(io.LimitReader(outR, netconf.MaxInput))
	if len(out) == netconf.MaxInput {
		outR.Close() // its next write ends the program
		readErr = errors.New("it answered more than 16 MiB")
	}
	stderr := <-said
	state, err := child.Wait()
	if err == nil {
		err = readErr
	}
	if err != nil {
		return nil, fault.Wrap("failed to run plugin "+strconv.Quote(p.name), err)
	}
	if !state.Success() {
		return nil, p.error(state.String(), out, stderr)
	}
	_, _ = process.Of(ctx).Stderr().Write(stderr)
	return out, nil
}

// inputFile holds the configuration in memory, so that no writer can block on a program that
// doesn't read.
func inputFile(text []byte) (*os.File, error) {
	fd, err := unix.MemfdCreate("cni", unix.MFD_CLOEXEC)
	if err != nil {
		return nil, os.NewSyscallError("memfd_create", err)
	}
	f := os.NewFile(uintptr(fd), "cni")
	if _, err := f.Write(text); err != nil {
		f.Close()
		return nil, err
	}
	if _, err := f.Seek(0, io.SeekStart); err != nil {
		f.Close()
		return nil, err
	}
	return f, nil
}

// delegateEnv is the caller's environment with the call's own variables, each once.
func delegateEnv(ctx context.Context, verb string, a spec.Attachment) []string {
	own := []string{
		"CNI_COMMAND=" + verb,
		"CNI_CONTAINERID=" + a.ContainerID,
		"CNI_NETNS=" + a.NetNS,
		"CNI_IFNAME=" + a.IfName,
		"CNI_ARGS=" + a.Args,
		"CNI_PATH=" + strings.Join(process.Of(ctx).Path(), ":"),
	}
	if a.SharedNetNS {
		own = append(own, "CNI_NETNS_OVERRIDE=1")
	}
	env := own
	for _, kv := range process.Of(ctx).Environ() {
		if !strings.HasPrefix(kv, "CNI_") {
			env = append(env, kv)
		}
	}
	return env
}

// error reads the error object that a failed delegate printed; its code is passed on. Without one,
// the details say whose fault it is.
func (p *Program) error(status string, stdout, stderr []byte) error {
	culprit := "plugin " + strconv.Quote(p.name) + " at " + p.path + " ended with " + status
	if len(bytes.TrimSpace(stdout)) == 0 {
		if len(stderr) == 0 {
			return &spec.Error{Msg: "netplugin failed with no error message: " + strconv.Quote(status), Details: culprit}
		}
		return &spec.Error{Msg: "netplugin failed: " + strconv.Quote(string(stderr)), Details: culprit}
	}
	e := &spec.Error{}
	var code int
	r := jsontext.NewReader(stdout, "")
	err := r.Object(func(key string) error {
		switch key {
		case "code":
			return r.Bounded(&code, 0, math.MaxInt)
		case "msg":
			return r.Str(&e.Msg)
		case "details":
			return r.Str(&e.Details)
		}
		return nil
	})
	if err == nil {
		err = r.End()
	}
	if err == nil && r.First != nil {
		err = r.First
	}
	if err != nil {
		return &spec.Error{Msg: "netplugin failed but error parsing its diagnostic message " + strconv.Quote(string(stdout)) + ": " + err.Error(),
			Details: culprit, Err: err}
	}
	e.Code = uint(code)
	return e
}

// Add asks for addresses.
func (p *Program) Add(ctx context.Context, a spec.Attachment) (*spec.Result, error) {
	out, err := p.run(ctx, "ADD", a)
	if err != nil {
		return nil, err
	}
	res := &spec.Result{}
	if string(bytes.TrimSpace(out)) != "null" {
		res.CNIVersion = p.conf.CNIVersion
		if err := p.conf.ReadAnswer(res, out); err != nil {
			return nil, p.unreadable(out, err)
		}
	}
	if len(res.IPs) == 0 {
		return nil, fault.Key("ipam.type", "IPAM plugin returned missing IP config")
	}
	return res, p.conf.CheckAddresses(res.IPs)
}

// unreadable names the plugin whose answer isn't a result: a complaint about JSON alone would be
// taken for one about the configuration.
func (p *Program) unreadable(out []byte, err error) error {
	e := *fault.Of(err)
	if e.Code == spec.CodeDecode {
		e.Code = spec.CodeInternal
	}
	e.Details = "plugin " + strconv.Quote(p.name) + " at " + p.path + " answered " + strconv.Quote(string(out[:min(len(out), 200)])) + " to ADD"
	return &e
}
