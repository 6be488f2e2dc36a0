// SPDX-License-Identifier: Apache-2.0

package dhcp

import (
	"bytes"
	"context"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"github.com/swiftcni/swiftcni/rtnl"
	"golang.org/x/sys/unix"
)

// A place is where a container's link is.
type place struct{ path, ifName string }

// A link is a container's, with its namespace, which stays as long as it's open. So DHCPRELEASE can
// still be sent when the container has gone.
type link struct {
	place
	ns    *rtnl.NetNS
	id    rtnl.NetNSID
	index int
	mac   net.HardwareAddr
}

// openLink finds a container's link. close it.
func openLink(p place) (*link, error) {
	ns, err := rtnl.OpenNetNS(p.path)
	if err != nil {
		return nil, err
	}
	l := &link{place: p, ns: ns, id: ns.ID()}
	err = l.do(func(conn *rtnl.Conn) error {
		state, err := conn.Link(p.ifName)
		if err != nil {
			return fmt.Errorf("error looking up %q: %w", p.ifName, err)
		}
		l.index, l.mac = state.Index, state.MAC
		return nil
	})
	if err != nil {
		ns.Close()
		return nil, err
	}
	return l, nil
}

func (l *link) close() { l.ns.Close() }

// do has a socket in the namespace.
func (l *link) do(fn func(*rtnl.Conn) error) error {
	conn, err := rtnl.DialWith(context.Background(), l.ns, nil)
	if err != nil {
		return err
	}
	defer conn.Close()
	return fn(conn)
}

// set sets the link up or down.
func (l *link) set(state rtnl.State) error {
	return l.do(func(conn *rtnl.Conn) error {
		var b rtnl.Batch
		b.Set(rtnl.Link{Index: l.index, State: state})
		return conn.Do(&b)
	})
}

// isThere reports whether the link is. A doubt means that it is.
func (l *link) isThere() bool {
	err := l.do(func(conn *rtnl.Conn) error {
		_, err := conn.LinkByIndex(l.index)
		return err
	})
	return !absent(err)
}

// isAt reports whether a place is this link's. The error is that of a place that can't be looked at.
func (l *link) isAt(p place) (bool, error) {
	ns, err := rtnl.OpenNetNS(p.path)
	if err != nil {
		return false, err
	}
	defer ns.Close()
	return ns.ID() == l.id && l.ifName == p.ifName && l.isThere(), nil
}

// isAbandoned reports whether nobody uses the namespace but this process: its path is another's or
// nobody's, no thread is in it, and no process has it mounted. A doubt means that somebody does.
func (l *link) isAbandoned() bool {
	ns, err := rtnl.OpenNetNS(l.path)
	if err == nil {
		defer ns.Close()
		if ns.ID() == l.id {
			return false
		}
	}
	return !inUse(l.id)
}

// inUse looks for a namespace among threads and mounts.
func inUse(id rtnl.NetNSID) bool {
	tasks, err := filepath.Glob("/proc/[0-9]*/task/[0-9]*")
	if err != nil || len(tasks) == 0 {
		return true
	}
	name := []byte("net:[" + strconv.FormatUint(id.Ino, 10) + "]")
	for _, task := range tasks {
		if strings.HasPrefix(task, "/proc/1/") {
			continue // the machine's own, or this container's; it may have more capabilities than root
		}
		var st unix.Stat_t
		switch err := unix.Stat(task+"/ns/net", &st); {
		case err == unix.ENOENT || err == unix.ESRCH: // it ended
			continue
		case err != nil || uint64(st.Dev) == id.Dev && st.Ino == id.Ino:
			return true
		}
		if filepath.Base(task) != filepath.Base(filepath.Dir(filepath.Dir(task))) {
			continue // threads of a process share their mounts
		}
		if mounts, err := os.ReadFile(task + "/mountinfo"); err == nil && bytes.Contains(mounts, name) {
			return true
		}
	}
	return false
}
