// SPDX-License-Identifier: Apache-2.0

package dhcp

import (
	"bytes"
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/swiftcni/swiftcni/cni/spec"
	"github.com/swiftcni/swiftcni/internal/fault"
	"github.com/swiftcni/swiftcni/internal/jsontext"
	"github.com/swiftcni/swiftcni/internal/process"
	"golang.org/x/sys/unix"
)

// DefaultSocket is the daemon's, unless the key daemonSocketPath names another.
const DefaultSocket = "/run/cni/dhcp.sock"

// How a connection begins (net/rpc, DialHTTP).
const (
	connect   = "CONNECT /_goRPC_ HTTP/1.0\n\n"
	connected = "200 Connected to Go RPC"
)

// errNothing is the cause of an error by which the daemon holds nothing.
var errNothing = errors.New("nothing was done")

// nothing is the error of a call that wasn't made, or was refused.
func nothing(text string) error {
	e := fault.Wrong(text)
	e.Err = errNothing
	return e
}

// because is an error's text, or that of the context's end, which others follow from.
func because(ctx context.Context, err error) string {
	if ctx.Err() != nil {
		err = ctx.Err()
	}
	return err.Error()
}

// dial finds the daemon.
func (k *Keys) dial(ctx context.Context) (*socket, error) {
	path := k.conf.IPAM.Socket
	if path == "" {
		path = DefaultSocket
	}
	step := "dial"
	s, err := dialSocket(ctx, process.Of(ctx).File(path))
	if err == nil {
		step = "dial-http"
		if err = s.greet(); err != nil {
			unix.Close(s.fd)
		}
	}
	if err != nil {
		return nil, nothing("error dialing DHCP daemon: " + step + " unix " + path + ": " + because(ctx, err))
	}
	return s, nil
}

// greet asks for a connection of net/rpc.
func (s *socket) greet() error {
	in := &decoder{from: s}
	err := s.write([]byte(connect))
	for err == nil && !bytes.Contains(in.read, []byte("\n\n")) && !bytes.Contains(in.read, []byte("\r\n\r\n")) {
		err = in.more()
	}
	if err != nil {
		return err
	}
	line, _, _ := strings.Cut(string(in.read), "\n")
	_, status, _ := strings.Cut(strings.TrimSuffix(line, "\r"), " ")
	if status != connected {
		return errors.New("unexpected HTTP response: " + status[:min(len(status), 200)])
	}
	return nil
}

// call makes a call for an attachment, and returns the answer as JSON.
func (k *Keys) call(ctx context.Context, method string, a spec.Attachment, within time.Duration) ([]byte, error) {
	ctx, cancel := context.WithTimeout(ctx, within)
	defer cancel()
	s, err := k.dial(ctx)
	if err != nil {
		return nil, err
	}
	defer unix.Close(s.fd)
	in := &decoder{from: s}
	var header, reply []byte
	if err = s.write(k.request(ctx, method, a)); err == nil {
		header, err = in.next()
	}
	if said := refusal(header); said != "" {
		return nil, nothing("error calling " + method + ": " + said)
	}
	if err == nil {
		reply, err = in.next()
	}
	if err != nil {
		return nil, fault.Wrong("error calling " + method + ": " + because(ctx, err))
	}
	return reply, nil
}

// refusal is what a header says against a call.
func refusal(header []byte) (text string) {
	r := jsontext.NewReader(header, "")
	_ = r.Object(func(string) error { return r.Str(&text) })
	return text
}

// request is what asks for a call. The daemon may have another working directory.
func (k *Keys) request(ctx context.Context, method string, a spec.Attachment) []byte {
	call := process.Of(ctx)
	netns := call.File(a.NetNS)
	if netns != "" && !filepath.IsAbs(netns) {
		dir, _ := os.Readlink("/proc/self/cwd")
		netns = filepath.Join(dir, netns)
	}
	override := ""
	if a.SharedNetNS {
		override = "1"
	}
	b := appendMessage([]byte(headerDefinition), headerType, method)
	return appendMessage(append(b, argumentsDefinition...), argumentsType, a.ContainerID, netns, a.IfName, a.Args,
		strings.Join(call.Path(), ":"), override, string(k.conf.Input()))
}
