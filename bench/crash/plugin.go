// SPDX-License-Identifier: Apache-2.0

package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/swiftcni/swiftcni/internal/test/box"
	"golang.org/x/sys/unix"
)

// Plugin is a CNI plugin on trial, or a list of them.
type Plugin struct {
	Name string
	Member
	// Followers come after it in a list, each as a process of its own.
	Followers []Member `json:",omitempty"`
	// Disturbed are the places in the list that trials disturb. None is the first.
	Disturbed []int `json:",omitempty"`
	// Brief asks for the size of -quick.
	Brief bool `json:",omitempty"`
	// Asks says that its IPAM plugin is a script, whose calls aren't disturbed. It takes an address
	// back while the link still has it. So a DEL that is killed may leave the address there until
	// the next DEL.
	Asks bool `json:",omitempty"`
	// Resident is the program whose subcommand serve makes the plugin's calls, or empty.
	Resident string `json:",omitempty"`
	// Modes and Verbs are those of its trials. None is all.
	Modes []string `json:",omitempty"`
	Verbs []string `json:",omitempty"`
	// Gates says that its failures are failures of the program.
	Gates bool `json:",omitempty"`
	// Leases is host-local's dataDir, or empty if the configuration has none.
	Leases string `json:",omitempty"`
	Bridge string `json:",omitempty"`
	// Master is a link that the host has before anything is attached, or empty.
	Master string `json:",omitempty"`
	// DHCP is the program whose subcommand dhcp has the leases of its IPAM plugin, or empty.
	DHCP string `json:",omitempty"`
	// Lends says that each container is to have a link that the host has before.
	Lends bool `json:",omitempty"`
}

// runLimit is how long a verb may take before it counts as hung.
const runLimit = time.Minute

// answer is the answer of a verb.
type answer struct {
	status unix.WaitStatus
	stdout string
	stderr string
	late   *string // the place in the kernel where it hung, when it was killed
	driver bool    // it's in netavark's words
}

func (a answer) ok() bool { return a.status == 0 }

func (a answer) String() string {
	s := fmt.Sprintf("exit status %d", a.status.ExitStatus())
	if a.status.Signaled() {
		s = a.status.Signal().String()
	}
	if a.late != nil {
		s = fmt.Sprintf("hung for %v: %s", runLimit, *a.late)
	}
	return strings.TrimSpace(s + " " + strings.Join(strings.Fields(a.stdout), " ") + " " + firstLine(a.stderr))
}

func firstLine(s string) string {
	line, _, _ := strings.Cut(strings.TrimSpace(s), "\n")
	return line
}

// result is the part of an ADD's answer that matters here. IPs is empty in versions before 0.3.0.
type result struct {
	IPs []struct {
		Address netip.Prefix `json:"address"`
	} `json:"ips"`
	IP4 struct {
		IP netip.Prefix `json:"ip"`
	} `json:"ip4"`
}

func (a answer) addresses() (list []netip.Addr) {
	if a.driver {
		return a.driverAddresses()
	}
	var r result
	if json.Unmarshal([]byte(a.stdout), &r) != nil {
		return nil
	}
	for _, ip := range r.IPs {
		list = append(list, ip.Address.Addr())
	}
	if r.IP4.IP.IsValid() {
		list = append(list, r.IP4.IP.Addr())
	}
	return list
}

// refusal checks the specification's form of an error: exit status 1, and one JSON object with a
// code. netavark's has a text instead.
func (a answer) refusal() error {
	if !a.status.Exited() || a.status.ExitStatus() != 1 {
		return fmt.Errorf("failure isn't exit status 1: %v", a)
	}
	var e struct {
		Code  uint   `json:"code"`
		Msg   string `json:"msg"`
		Error string `json:"error"`
	}
	d := json.NewDecoder(strings.NewReader(a.stdout))
	if err := d.Decode(&e); err != nil || a.driver && e.Error == "" || !a.driver && e.Code == 0 {
		return fmt.Errorf("failure without an error object: %v", a)
	}
	if d.More() {
		return fmt.Errorf("failure with more than one object: %v", a)
	}
	return nil
}

// crashed reports whether the Go runtime gave up, which no plugin can turn into an error.
func (a answer) crashed() bool {
	return a.status.ExitStatus() == 2 && (strings.Contains(a.stderr, "runtime") || strings.Contains(a.stderr, "goroutine"))
}

// call is a verb of one member that is about to run.
type call struct {
	Member
	verb  string
	id    string
	netns string
	prev  string   // prevResult, or empty
	valid []string // for GC: container IDs
	deaf  bool     // nobody reads the answer
}

// config is the call's standard input.
func (c call) config() (string, error) {
	if c.Driver {
		return c.driverInput()
	}
	c.Config = strings.ReplaceAll(c.Config, containerWord, c.id)
	var conf map[string]json.RawMessage
	if err := json.Unmarshal([]byte(c.Config), &conf); err != nil {
		return "", err
	}
	if conf["capabilities"] == nil && c.prev == "" && c.verb != "GC" {
		return c.Config, nil
	}
	if err := c.useCapabilities(conf); err != nil {
		return "", err
	}
	if c.prev != "" {
		conf["prevResult"] = json.RawMessage(c.prev)
	}
	if c.verb == "GC" {
		valid := []map[string]string{}
		for _, id := range c.valid {
			valid = append(valid, map[string]string{"containerID": id, "ifname": "eth0"})
		}
		encoded, err := json.Marshal(valid)
		if err != nil {
			return "", err
		}
		conf["cni.dev/valid-attachments"], conf["cni.dev/attachments"] = encoded, encoded
	}
	encoded, err := json.Marshal(conf)
	return string(encoded), err
}

// started holds a process's input and output.
type started struct {
	argv                  []string
	attr                  *syscall.ProcAttr
	stdin, stdout, stderr *os.File
	unread                *os.File // replaces stdout, or nil
	driver                bool
}

func (c call) prepare() (*started, error) {
	config, err := c.config()
	if err != nil {
		return nil, err
	}
	s := &started{argv: []string{c.Path}, driver: c.Driver}
	if c.Driver {
		s.argv = append(s.argv, driverVerbs[c.verb], c.netns)
	}
	stdin, w, err := os.Pipe()
	if err != nil {
		return nil, err
	}
	s.stdin = stdin
	// A configuration is smaller than a pipe (64 KiB), so this doesn't wait for a reader.
	_, err = w.WriteString(config)
	err = errors.Join(err, w.Close())
	for _, f := range []**os.File{&s.stdout, &s.stderr} {
		if err == nil {
			*f, err = memFile()
		}
	}
	answers := s.stdout
	if c.deaf && err == nil {
		answers, err = unread()
		s.unread = answers
	}
	if err != nil {
		s.close()
		return nil, err
	}
	s.attr = &syscall.ProcAttr{
		Files: []uintptr{s.stdin.Fd(), answers.Fd(), s.stderr.Fd()},
		Env: []string{
			"PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
			"CNI_COMMAND=" + c.verb, "CNI_CONTAINERID=" + c.id, "CNI_NETNS=" + c.netns, "CNI_IFNAME=eth0",
			"CNI_PATH=" + filepath.Dir(c.Path),
		},
	}
	return s, nil
}

func memFile() (*os.File, error) {
	fd, err := unix.MemfdCreate("output", unix.MFD_CLOEXEC)
	if err != nil {
		return nil, err
	}
	return os.NewFile(uintptr(fd), "output"), nil
}

// unread is an end of a pipe whose other end is closed.
func unread() (*os.File, error) {
	r, w, err := os.Pipe()
	if err != nil {
		return nil, err
	}
	return w, r.Close()
}

func (s *started) close() {
	for _, f := range []*os.File{s.stdin, s.stdout, s.stderr, s.unread} {
		if f != nil {
			f.Close()
		}
	}
}

func (s *started) answer(status unix.WaitStatus, late *string) (a answer, err error) {
	a = answer{status: status, late: late, driver: s.driver}
	for _, f := range []struct {
		file *os.File
		text *string
	}{{s.stdout, &a.stdout}, {s.stderr, &a.stderr}} {
		b := make([]byte, 1<<16)
		n, err := unix.Pread(int(f.file.Fd()), b, 0)
		if err != nil {
			return a, err
		}
		*f.text = string(b[:n])
	}
	return a, nil
}

// run runs a verb undisturbed in the calling thread's network namespace.
func (c call) run() (answer, error) {
	s, err := c.prepare()
	if err != nil {
		return answer{}, err
	}
	defer s.close()
	pid, err := syscall.ForkExec(c.Path, s.argv, s.attr)
	if err != nil {
		return answer{}, fmt.Errorf("start %s: %w", c.Path, err)
	}
	var late atomic.Pointer[string]
	watchdog := time.AfterFunc(runLimit, func() {
		where := box.KernelStacks(pid)
		late.Store(&where)
		_ = unix.Kill(pid, unix.SIGKILL)
	})
	var status unix.WaitStatus
	_, err = wait(pid, &status)
	watchdog.Stop()
	if err != nil {
		return answer{}, err
	}
	return s.answer(status, late.Load())
}

// trace runs a verb under a tracer.
func (c call) trace(t *tracer) (answer, error) {
	s, err := c.prepare()
	if err != nil {
		return answer{}, err
	}
	defer s.close()
	t.limit = runLimit
	if err := t.run(c.Path, s.argv, s.attr); err != nil {
		return answer{}, err
	}
	return s.answer(t.status, t.late.Load())
}
