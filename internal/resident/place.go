// SPDX-License-Identifier: Apache-2.0

package resident

import (
	"net"
	"os"
	"strconv"

	"golang.org/x/sys/unix"
)

// A place is what a process must share with the resident, so that all names mean the same to both,
// and what it may do. A caller that differs isn't refused: it makes its call itself, where it is.
type place struct {
	uid    uint32
	cookie uint64    // of the network namespace (SO_NETNS_COOKIE, Linux 5.14); 0: unknown
	spaces [4]number // network, mount, user and PID namespace
	root   number
	caps   uint64 // effective capabilities
}

// A number names a file of this host as long as it's there: device and inode.
type number struct{ dev, ino uint64 }

func numberOf(path string) (number, error) {
	var st unix.Stat_t
	if err := unix.Stat(path, &st); err != nil {
		return number{}, &os.PathError{Op: "stat", Path: path, Err: err}
	}
	return number{uint64(st.Dev), st.Ino}, nil // some architectures have it in 32 bits
}

// spaces are the namespaces in procfs. A network namespace is told by its cookie where there's one.
var spaces = [4]string{"net", "mnt", "user", "pid"}

// here is this process's place.
func here() (p place, err error) {
	p.uid = uint32(os.Geteuid())
	fds, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_SEQPACKET|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return p, os.NewSyscallError("socketpair", err)
	}
	defer unix.Close(fds[0])
	defer unix.Close(fds[1])
	p.cookie = cookie(fds[0])
	if p.spaces, p.root, err = placeOf("self", false); err != nil {
		return p, err
	}
	p.caps, err = capabilities(0)
	return p, err
}

// placeOf reads a process's namespaces and root directory from procfs.
func placeOf(pid string, cookied bool) (list [4]number, root number, err error) {
	for i, name := range spaces {
		if i == 0 && cookied {
			continue
		}
		if list[i], err = numberOf("/proc/" + pid + "/ns/" + name); err != nil {
			return list, root, err
		}
	}
	root, err = numberOf("/proc/" + pid + "/root")
	return list, root, err
}

// cookie is the number of a socket's network namespace, which is that of the caller's for a Unix
// socket that was accepted (unix_stream_connect, net/unix/af_unix.c). It's 0 on kernels without it.
func cookie(fd int) uint64 {
	n, err := unix.GetsockoptUint64(fd, unix.SOL_SOCKET, unix.SO_NETNS_COOKIE)
	if err != nil {
		return 0
	}
	return n
}

// capabilities are a process's effective ones (capget(2)).
func capabilities(pid int) (uint64, error) {
	header := unix.CapUserHeader{Version: unix.LINUX_CAPABILITY_VERSION_3, Pid: int32(pid)}
	var data [2]unix.CapUserData
	if err := unix.Capget(&header, &data[0]); err != nil {
		return 0, os.NewSyscallError("capget", err)
	}
	return uint64(data[1].Effective)<<32 | uint64(data[0].Effective), nil
}

// A caller is a process in this place that waits for an answer.
type caller struct {
	conn     int  // the connection's descriptor, as long as that is open
	able     bool // it may do all that the resident may do
	dir, exe string
}

// has reports whether the process at the other end of a connection is in the place.
func (p *place) has(conn *net.UnixConn) (c caller, ok bool) {
	raw, err := conn.SyscallConn()
	if err != nil {
		return c, false
	}
	err = raw.Control(func(fd uintptr) {
		c.conn = int(fd)
		ok = p.hasPeer(&c)
	})
	return c, ok && err == nil
}

func (p *place) hasPeer(c *caller) bool {
	cred, err := unix.GetsockoptUcred(c.conn, unix.SOL_SOCKET, unix.SO_PEERCRED)
	if err != nil || cred.Uid != p.uid || cred.Pid <= 0 {
		return false
	}
	network := cookie(c.conn)
	if network != p.cookie {
		return false
	}
	// The number is the caller's as long as that lives, which is asked last.
	alive, err := peer(c.conn, int(cred.Pid))
	if err != nil {
		return false
	}
	defer unix.Close(alive)
	pid := strconv.Itoa(int(cred.Pid))
	list, root, err := placeOf(pid, network != 0)
	if network != 0 {
		list[0] = p.spaces[0]
	}
	if err != nil || list != p.spaces || root != p.root {
		return false
	}
	caps, err := capabilities(int(cred.Pid))
	if err != nil {
		return false
	}
	c.able = caps&p.caps == p.caps
	c.exe = "/proc/" + pid + "/exe"
	if c.dir, err = os.Readlink("/proc/" + pid + "/cwd"); err != nil {
		return false
	}
	return !tells(alive, unix.POLLIN)
}

// soPeerPIDFD is SO_PEERPIDFD (asm-generic/socket.h, Linux 6.5).
const soPeerPIDFD = 77

// peer opens the process that has made a connection.
func peer(conn, pid int) (int, error) {
	if fd, err := unix.GetsockoptInt(conn, unix.SOL_SOCKET, soPeerPIDFD); err == nil {
		return fd, nil
	}
	// A number that was given to another process since then isn't the caller's. It waits at the
	// connection, so it's alive unless the connection says otherwise.
	fd, err := unix.PidfdOpen(pid, 0)
	if err != nil {
		return -1, os.NewSyscallError("pidfd_open", err)
	}
	if isGone(conn) {
		unix.Close(fd)
		return -1, errGone
	}
	return fd, nil
}
