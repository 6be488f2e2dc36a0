// SPDX-License-Identifier: Apache-2.0

package cni

import (
	"bytes"
	"context"
	"errors"
	"io"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/swiftcni/swiftcni/internal/fault"
	"github.com/swiftcni/swiftcni/internal/jsontext"
	"github.com/swiftcni/swiftcni/internal/process"
	"github.com/swiftcni/swiftcni/internal/wire"
	"golang.org/x/sys/unix"
)

// A delegate is another plugin's executable, run by the specification's delegation protocol (section 4).
type delegate struct {
	name, path string
}

// findDelegate searches CNI_PATH for the network's IPAM plugin. A file that can't be executed doesn't hide a
// good one behind it.
func (n *Network) findDelegate(ctx context.Context) (*delegate, error) {
	name, dirs := n.ipam.plugin, process.Of(ctx).Path()
	switch {
	case name == "":
		return nil, invalidKey("ipam.type", "no plugin name provided")
	case strings.ContainsAny(name, `/\`):
		return nil, invalidKey("ipam.type", "invalid plugin name: "+name)
	case len(dirs) == 0:
		return nil, &Error{Code: CodeInvalidEnvironment, Msg: "no paths provided", Key: "CNI_PATH"}
	}
	for _, dir := range dirs {
		if dir == "" {
			continue
		}
		path := filepath.Join(dir, name)
		var st unix.Stat_t
		if unix.Stat(path, &st) == nil && st.Mode&unix.S_IFMT == unix.S_IFREG && st.Mode&0o111 != 0 {
			return &delegate{name, path}, refuseOurselves(path, &st)
		}
	}
	return nil, &Error{Code: CodeInvalidNetwork, Key: "ipam.type",
		Msg: "failed to find plugin " + quote(name) + " in path [" + strings.Join(dirs, " ") + "]"}
}

// refuseOurselves refuses a delegate that's this program again, unless a link makes it one of its IPAM plugins: it would
// delegate to itself without end.
func refuseOurselves(path string, st *unix.Stat_t) error {
	var own unix.Stat_t
	if unix.Stat("/proc/self/exe", &own) != nil || own.Dev != st.Dev || own.Ino != st.Ino {
		return nil
	}
	switch Name(path) {
	case hostLocal, static:
		return nil
	}
	return invalidKey("ipam.type", quote(path)+" is swiftcni itself, which gives addresses as host-local and static alone")
}

// run executes the delegate with the configuration as it came and returns what it printed.
func (d *delegate) run(ctx context.Context, verb string, n *Network, a Attachment) ([]byte, error) {
	in, err := inputFile(n.input())
	if err != nil {
		return nil, failed("prepare input for plugin "+quote(d.name), err)
	}
	defer in.Close()
	outR, outW, err := os.Pipe()
	if err != nil {
		return nil, failed("run plugin "+quote(d.name), err)
	}
	defer outR.Close()
	errR, errW, err := os.Pipe()
	if err != nil {
		outW.Close()
		return nil, failed("run plugin "+quote(d.name), err)
	}
	defer errR.Close()
	p, err := os.StartProcess(d.path, []string{d.path}, &os.ProcAttr{
		Env:   delegateEnv(ctx, verb, a),
		Files: []*os.File{in, outW, errW},
	})
	outW.Close()
	errW.Close()
	if err != nil {
		return nil, failed("failed to run plugin "+quote(d.name), err)
	}
	stop := context.AfterFunc(ctx, func() {
		_ = p.Kill()
		// Its own children may hold the streams open.
		_, _ = outR.SetReadDeadline(time.Now()), errR.SetReadDeadline(time.Now())
	})
	defer stop()
	said := make(chan []byte, 1)
	go func() {
		text, _ := io.ReadAll(io.LimitReader(errR, maxInput))
		said <- text
	}()
	out, readErr := io.ReadAll(io.LimitReader(outR, maxInput))
	stderr := <-said
	state, err := p.Wait()
	if err == nil {
		err = readErr
	}
	if err != nil {
		return nil, failed("failed to run plugin "+quote(d.name), err)
	}
	if !state.Success() {
		return nil, d.error(state.String(), out, stderr)
	}
	_, _ = os.Stderr.Write(stderr)
	return out, nil
}

// inputFile holds the configuration in memory, so that no writer can block on a delegate that doesn't read.
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
func delegateEnv(ctx context.Context, verb string, a Attachment) []string {
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
	for _, kv := range os.Environ() {
		if !strings.HasPrefix(kv, "CNI_") {
			env = append(env, kv)
		}
	}
	return env
}

// error reads the error object that a failed delegate printed; its code is passed on. Without one, the details say whose
// fault it is.
func (d *delegate) error(status string, stdout, stderr []byte) error {
	culprit := "plugin " + quote(d.name) + " at " + d.path + " ended with " + status
	if len(bytes.TrimSpace(stdout)) == 0 {
		if len(stderr) == 0 {
			return &Error{Msg: "netplugin failed with no error message: " + quote(status), Details: culprit}
		}
		return &Error{Msg: "netplugin failed: " + quote(string(stderr)), Details: culprit}
	}
	e := &Error{}
	var code int
	r := jsontext.NewReader(stdout, "")
	err := r.Object(func(key string) error {
		switch key {
		case "code":
			return r.Integer(&code)
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
	if err != nil {
		return &Error{Msg: "netplugin failed but error parsing its diagnostic message " + quote(string(stdout)) + ": " + err.Error(),
			Details: culprit, Err: err}
	}
	e.Code = uint(code)
	return e
}

// add asks for addresses.
func (d *delegate) add(ctx context.Context, n *Network, a Attachment) (*Result, error) {
	out, err := d.run(ctx, "ADD", n, a)
	if err != nil {
		return nil, err
	}
	res := &Result{}
	if string(bytes.TrimSpace(out)) != "null" {
		res.CNIVersion = n.cniVersion
		if err := d.read(res, out); err != nil {
			return nil, d.unreadable(out, err)
		}
	}
	if len(res.IPs) == 0 {
		return nil, invalidKey("ipam.type", "IPAM plugin returned missing IP config")
	}
	return res, n.checkDelegated(res)
}

// read reads a result whose routes a link is to have.
func (d *delegate) read(res *Result, text []byte) error {
	err := res.UnmarshalJSON(text)
	if at := (*jsontext.Error)(nil); errors.As(err, &at) {
		return fault.OfText(at.In(d.name))
	}
	if err != nil {
		return err
	}
	for i := range res.Routes {
		route := wire.Route(res.Routes[i])
		if key, problem := route.Problem(); problem != "" {
			at := jsontext.Invalid(strings.TrimSuffix("routes["+strconv.Itoa(i)+"]."+key, "."), problem)
			return fault.OfText(at.In(d.name))
		}
	}
	return nil
}

// unreadable names the plugin whose answer isn't a result: a complaint about JSON alone would be taken for one about the
// configuration.
func (d *delegate) unreadable(out []byte, err error) error {
	e := *asError(err)
	if e.Code == CodeDecode {
		e.Code = CodeInternal
	}
	e.Details = "plugin " + quote(d.name) + " at " + d.path + " answered " + quote(string(out[:min(len(out), 200)])) + " to ADD"
	return &e
}

// undoTimeout bounds what takes an ADD back whose caller waits no more. It's far beyond what a delegate needs.
const undoTimeout = time.Minute

// reserveDelegated asks the IPAM plugin for addresses. A failed ADD is followed by DEL too, as the specification demands
// (section 4): nobody else will know what it may have reserved.
func (at *attaching) reserveDelegated(ctx context.Context) (*Result, error) {
	at.undo.Push("addresses", func() error {
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), undoTimeout)
		defer cancel()
		_, err := at.delegate.run(ctx, "DEL", at.network, at.attachment)
		return err
	})
	return at.delegate.add(ctx, at.network, at.attachment)
}

// delegate runs any other verb of the IPAM plugin.
func (n *Network) delegate(ctx context.Context, verb string, a Attachment) error {
	d, err := n.findDelegate(ctx)
	if err != nil {
		return err
	}
	_, err = d.run(ctx, verb, n, a)
	return err
}
