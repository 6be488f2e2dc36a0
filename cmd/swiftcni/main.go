// SPDX-License-Identifier: Apache-2.0

// Command swiftcni is every plugin in one binary. The name that it's called by chooses the plugin. With
// one of netavark's commands as its argument it's a driver plugin of netavark.
//
// It lives for a millisecond or two, so the runtime needn't read the CPU's quota from the cgroup,
// nor follow it.
//
//go:debug containermaxprocs=0
//go:debug updatemaxprocs=0
package main

import (
	"os"
	"syscall"

	"github.com/swiftcni/swiftcni/cni"
	"github.com/swiftcni/swiftcni/internal/entry"
	_ "github.com/swiftcni/swiftcni/internal/handover"
	"github.com/swiftcni/swiftcni/internal/netavark"
	_ "github.com/swiftcni/swiftcni/internal/stack"
)

func main() {
	entry.Restore()
	if netavark.IsCall(os.Args) {
		os.Exit(netavark.Main(os.Args, os.Stdin, stdout{}, os.Stderr))
	}
	name := cni.Name(os.Args[0])
	if name == "dhcp" && len(os.Args) > 1 && os.Args[1] == "daemon" { // as a unit for the reference's program starts it
		_, _ = os.Stderr.WriteString("swiftcni: the plugin's daemon is \"swiftctl dhcp\", with the same flags\n")
		os.Exit(1)
	}
	os.Exit(cni.Main(name, os.Getenv, os.Stdin, stdout{}, os.Stderr))
}

// stdout is the standard output. It returns an error if nobody reads it any more. os.Stdout would
// end the process then (SIGPIPE in package os/signal), and the work of an ADD would stay.
type stdout struct{}

func (stdout) Write(b []byte) (n int, err error) {
	for n < len(b) {
		m, err := syscall.Write(syscall.Stdout, b[n:])
		n += max(m, 0)
		switch err {
		case nil, syscall.EINTR:
		case syscall.EAGAIN: // the caller's pipe doesn't block, so we must wait
			m, err := os.Stdout.Write(b[n:])
			return n + m, err
		default:
			return n, os.NewSyscallError("write", err)
		}
	}
	return n, nil
}
