// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bufio"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"io/fs"
	"net/netip"
	"os"
	"path/filepath"
	"strconv"
	"strings"
)

// listener is a socket of this namespace that waits for connections, and the program that has it. A
// socket that no process here has, such as one of the kernel's own, is left out.
type listener struct {
	protocol string
	addr     netip.Addr
	port     uint16
	pid      int
	program  string
}

// readListeners reads /proc/net/tcp and its siblings (proc_pid_net(5)), and the owners of the
// sockets.
func readListeners() (list []listener, err error) {
	byInode := map[string]listener{}
	for _, of := range []struct{ file, protocol, state string }{{"tcp", "tcp", "0A"}, {"tcp6", "tcp", "0A"}, {"udp", "udp", "07"}, {"udp6", "udp", "07"}} {
		f, openErr := os.Open("/proc/thread-self/net/" + of.file)
		if errors.Is(openErr, fs.ErrNotExist) {
			continue // no IPv6
		}
		if openErr != nil {
			return nil, openErr
		}
		for lines := bufio.NewScanner(f); lines.Scan(); {
			fields := strings.Fields(lines.Text())
			if len(fields) < 10 || fields[3] != of.state {
				continue
			}
			if l, ok := parseListener(fields[1]); ok {
				l.protocol = of.protocol
				byInode["socket:["+fields[9]+"]"] = l
			}
		}
		err = errors.Join(err, f.Close())
	}
	return owned(byInode), err
}

// parseListener reads an address as the kernel prints it: words of 4 bytes in the machine's order,
// a colon, the port.
func parseListener(text string) (l listener, ok bool) {
	addr, port, _ := strings.Cut(text, ":")
	b, err := hex.DecodeString(addr)
	n, portErr := strconv.ParseUint(port, 16, 16)
	if err != nil || portErr != nil {
		return l, false
	}
	for i := 0; i+4 <= len(b); i += 4 {
		binary.NativeEndian.PutUint32(b[i:], binary.BigEndian.Uint32(b[i:]))
	}
	a, ok := netip.AddrFromSlice(b)
	return listener{addr: a.Unmap(), port: uint16(n)}, ok
}

// owned finds the processes that have sockets, one for each socket.
func owned(byInode map[string]listener) (list []listener) {
	if len(byInode) == 0 {
		return nil
	}
	fds, _ := filepath.Glob("/proc/[0-9]*/fd/[0-9]*")
	for _, fd := range fds {
		name, _ := os.Readlink(fd)
		l, ok := byInode[name]
		if !ok {
			continue
		}
		delete(byInode, name)
		proc := filepath.Dir(filepath.Dir(fd))
		comm, _ := os.ReadFile(proc + "/comm")
		l.pid, _ = strconv.Atoi(filepath.Base(proc))
		l.program = strings.TrimSpace(string(comm))
		list = append(list, l)
	}
	return list
}
