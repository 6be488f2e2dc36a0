// SPDX-License-Identifier: Apache-2.0

package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"github.com/swiftcni/swiftcni/internal/tool/build"
	"golang.org/x/sys/unix"
)

// leasing is macvlan with addresses of a DHCP server's, which is on the other end of its master. The
// program swiftctl has the leases. Its calls and the server's aren't disturbed. Limits and events aren't
// tried: with a link that's gone the daemon asks for minutes before it gives up.
func (b builder) leasing(p Plugin) (Plugin, error) {
	p = linking(p)
	p.Name, p.Leases, p.Modes = oursDHCP, "", []string{modeKill, modeFail}
	p.DHCP = filepath.Join(filepath.Dir(p.Path), "swiftctl")
	p.Config = `{"cniVersion":"1.1.0","name":"crash","type":"macvlan","master":"master0","ipam":{"type":"dhcp"}}`
	return p, build.Swiftctl(b.progress, b.root, p.DHCP)
}

// The files of the daemon that has the leases.
const (
	dhcpSocket = runDir + "/dhcp.sock"
	dhcpLeases = runDir + "/dhcp.leases"
)

// dnsmasq is the server, without a file that outlives it. It doesn't look whether somebody uses an
// address, which takes seconds.
var dnsmasq = []string{"--keep-in-foreground", "--conf-file=/dev/null", "--port=0", "--no-ping", "--interface=far0", "--bind-interfaces",
	"--user=root", "--pid-file=", "--leasefile-ro", "--dhcp-authoritative", "--dhcp-range=172.19.1.10,172.19.1.250,255.255.255.0,1h"}

// serveDHCP starts the server and the daemon, if the plugin needs them, and waits until they listen.
func (t *trying) serveDHCP() error {
	if t.plugin.DHCP == "" {
		return nil
	}
	server, err := exec.LookPath("dnsmasq")
	if err != nil {
		return err
	}
	if err := ip("address add 172.19.1.1/24 dev far0"); err != nil {
		return err
	}
	for _, argv := range [][]string{append([]string{server}, dnsmasq...), {t.plugin.DHCP, "dhcp"}} {
		if err := t.serve(argv); err != nil {
			return err
		}
	}
	for deadline := time.Now().Add(runLimit); !listening(); time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			return errors.New("the DHCP server or its daemon doesn't listen")
		}
	}
	return nil
}

// serve starts a program that stays until the trial ends.
func (t *trying) serve(argv []string) error {
	null, err := os.OpenFile(os.DevNull, os.O_RDWR, 0)
	if err != nil {
		return err
	}
	defer null.Close()
	pid, err := syscall.ForkExec(argv[0], argv, &syscall.ProcAttr{
		Env:   []string{"PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"},
		Files: []uintptr{null.Fd(), null.Fd(), null.Fd()},
	})
	if err != nil {
		return fmt.Errorf("start %s: %w", argv[0], err)
	}
	t.servants = append(t.servants, pid)
	return nil
}

// listening reports whether the daemon has its socket, and the server has port 67 in the thread's
// namespace.
func listening() bool {
	c, err := net.Dial("unix", dhcpSocket)
	if err != nil {
		return false
	}
	c.Close()
	ports, err := os.ReadFile("/proc/thread-self/net/udp")
	return err == nil && strings.Contains(string(ports), ":0043 ")
}

// release ends the programs that stay.
func (t *trying) release() {
	for _, pid := range t.servants {
		var status unix.WaitStatus
		_ = unix.Kill(pid, unix.SIGKILL)
		_, _ = wait(pid, &status)
	}
	t.servants = nil
}

// dhcp adds the leases that the daemon has by its file.
func (s snapshot) dhcp() error {
	text, err := os.ReadFile(dhcpLeases)
	if errors.Is(err, os.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	var state struct {
		Leases []struct {
			ClientID string `json:"clientID"`
		} `json:"leases"`
	}
	if err := json.Unmarshal(text, &state); err != nil {
		return fmt.Errorf("%s: %w", dhcpLeases, err)
	}
	for _, l := range state.Leases {
		s["lease of DHCP for "+l.ClientID] = true
	}
	return nil
}
