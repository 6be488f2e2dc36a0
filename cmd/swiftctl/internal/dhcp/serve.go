// SPDX-License-Identifier: Apache-2.0

package dhcp

import (
	"bufio"
	"context"
	"encoding/gob"
	"errors"
	"io"
	"net"
	"slices"
	"strings"
	"sync"
	"time"

	"golang.org/x/sys/unix"
)

// The protocol is that of Go's net/rpc over HTTP. The package itself isn't used: it would bring
// servers and templates of HTML to a tool that has none, and one service with two methods needs a
// page.

// Args are a plugin's call: skel.CmdArgs of libcni. Gob goes by the fields' names.
type Args struct {
	ContainerID, Netns, IfName, Args, Path, NetnsOverride string
	StdinData                                             []byte
}

// Result is the answer: types100.Result of libcni, as far as a lease says anything of it.
type Result struct {
	CNIVersion string
	IPs        []*IPConfig
	Routes     []*Route
}

// An IPConfig is an address.
type IPConfig struct {
	Address net.IPNet
	Gateway net.IP
}

// A Route is one of the container's.
type Route struct {
	Dst      net.IPNet
	GW       net.IP
	Priority int
	Scope    *int
}

// request and response are net/rpc's headers.
type (
	request struct {
		ServiceMethod string
		Seq           uint64
	}
	response struct {
		ServiceMethod string
		Seq           uint64
		Error         string
	}
)

// Serve answers plugins until the context ends.
func (d *Daemon) Serve(ctx context.Context, l net.Listener) error {
	stop := context.AfterFunc(ctx, func() { l.Close() })
	defer stop()
	var calls sync.WaitGroup
	defer calls.Wait()
	for {
		conn, err := l.Accept()
		if err != nil {
			if ctx.Err() != nil {
				return nil
			}
			if !isShortage(err) {
				return err
			}
			// It passes when a call ends, or a lease. Those that are there must be renewed meanwhile.
			d.o.Log("accept: %v", err)
			select {
			case <-ctx.Done():
			case <-time.After(shortagePause):
			}
			continue
		}
		calls.Go(func() {
			defer conn.Close()
			over := context.AfterFunc(ctx, func() { conn.Close() })
			defer over()
			if err := d.answer(conn); err != nil && ctx.Err() == nil {
				d.o.Log("a call: %v", err)
			}
		})
	}
}

// shortagePause is between two tries to accept a call for which the host lacks something.
const shortagePause = 100 * time.Millisecond

// isShortage reports whether an error of accept(2) is a lack of file descriptors or memory.
func isShortage(err error) bool {
	return slices.ContainsFunc([]unix.Errno{unix.EMFILE, unix.ENFILE, unix.ENOBUFS, unix.ENOMEM}, func(e unix.Errno) bool { return errors.Is(err, e) })
}

// maxHeader bounds the lines of HTTP, in bytes.
const maxHeader = 4096

// answer answers the calls of a connection, one after the other.
func (d *Daemon) answer(conn net.Conn) error {
	in := bufio.NewReaderSize(conn, maxHeader)
	if err := greet(in, conn); err != nil {
		return err
	}
	dec, out := gob.NewDecoder(in), bufio.NewWriter(conn)
	enc := gob.NewEncoder(out)
	for {
		var of request
		if err := dec.Decode(&of); err != nil {
			if errors.Is(err, io.EOF) {
				return nil
			}
			return err
		}
		to, body := response{ServiceMethod: of.ServiceMethod, Seq: of.Seq}, any(struct{}{})
		args := Args{}
		if err := dec.Decode(&args); err != nil {
			return err
		}
		res, err := d.do(of.ServiceMethod, &args)
		if err != nil {
			to.Error = err.Error()
		} else if res != nil {
			body = res
		}
		for _, v := range []any{to, body} {
			if err := enc.Encode(v); err != nil {
				return err
			}
		}
		if err := out.Flush(); err != nil {
			return err
		}
	}
}

// greet reads the request that begins a connection. Nobody says more until it's answered.
func greet(in *bufio.Reader, out io.Writer) error {
	first := ""
	for {
		line, err := in.ReadSlice('\n')
		if err != nil {
			if errors.Is(err, io.EOF) && first == "" {
				return nil // it only looked whether somebody is here
			}
			return err
		}
		text := strings.TrimRight(string(line), "\r\n")
		if text == "" {
			break
		}
		if first == "" {
			first = text
		}
	}
	if !strings.HasPrefix(first, "CONNECT /_goRPC_ ") {
		_, _ = io.WriteString(out, "HTTP/1.0 404 Not Found\n\n")
		return errors.New("somebody asks for " + first)
	}
	_, err := io.WriteString(out, "HTTP/1.0 200 Connected to Go RPC\n\n")
	return err
}

// do makes a call.
func (d *Daemon) do(method string, a *Args) (*Result, error) {
	switch method {
	case "DHCP.Allocate":
		return d.Allocate(a)
	case "DHCP.Check": // the reference's has none
		return d.Check(a)
	case "DHCP.Release":
		return nil, d.Release(a)
	}
	return nil, errors.New("rpc: can't find method " + method)
}
