// SPDX-License-Identifier: Apache-2.0

package main

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"
)

// container is a namespace to attach.
type container struct {
	id, netns string
	host      int      // the namespace of the contestant's host
	env       []string // more environment, each NAME=VALUE
}

func (m *measurer) newContainer(c Contestant) (container, error) {
	m.ids++
	id := fmt.Sprintf("bench-%s-%d", c.Name, m.ids)
	at := container{id: id, netns: filepath.Join("/run/netns", id), host: m.hosts[c.Name]}
	fd, err := newNetNS(at.netns)
	if err != nil {
		return at, err
	}
	return at, unix.Close(fd)
}

// remove removes the namespace's name. The namespace ends when nobody is inside any more. A
// container that was never made counts as removed.
func (c container) remove() {
	_ = unix.Unmount(c.netns, unix.MNT_DETACH)
	_ = os.Remove(c.netns)
}

// newNetNS makes a network namespace, names it, and returns it open. The thread is in it
// afterwards.
func newNetNS(path string) (fd int, err error) {
	if err := unix.Unshare(unix.CLONE_NEWNET); err != nil {
		return -1, fmt.Errorf("new network namespace: %w", err)
	}
	if err := os.WriteFile(path, nil, 0o600); err != nil {
		return -1, err
	}
	if err := unix.Mount("/proc/thread-self/ns/net", path, "", unix.MS_BIND, ""); err != nil {
		return -1, fmt.Errorf("name network namespace %s: %w", path, err)
	}
	return unix.Open(path, unix.O_RDONLY|unix.O_CLOEXEC, 0)
}

func enter(netns int) error {
	if err := unix.Setns(netns, unix.CLONE_NEWNET); err != nil {
		return fmt.Errorf("enter network namespace: %w", err)
	}
	return nil
}

// process is a verb that is ready to run. Its standard input is already written, its output will be
// read later, and nothing is left to prepare while the clock runs.
type process struct {
	argv, env      []string
	stdin          *os.File
	stdout, stderr *os.File // files, so that nobody need read them meanwhile
	figures        *os.File // the output of floor/launch.c
}

// environment is a plugin's whole environment. Of two values of a variable the first one counts.
func environment(c Contestant, at container, verb string) []string {
	return slices.Concat(c.Env, at.env, []string{
		"PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
		"CNI_COMMAND=" + verb, "CNI_CONTAINERID=" + at.id, "CNI_NETNS=" + at.netns, "CNI_IFNAME=eth0",
		"CNI_PATH=" + filepath.Dir(c.Plugin),
	})
}

// newProcess also moves the thread, and so the process to be, into the contestant's host.
func newProcess(c Contestant, at container, verb string) (*process, error) {
	if err := enter(at.host); err != nil {
		return nil, err
	}
	if err := c.showResident(); err != nil {
		return nil, err
	}
	own := strings.NewReplacer("{id}", at.id, "{netns}", at.netns)
	p := &process{argv: append([]string{c.Plugin}, c.Args...), env: environment(c, at, verb)}
	for _, arg := range c.Calls[verb] {
		p.argv = append(p.argv, own.Replace(arg))
	}
	stdin, config, err := os.Pipe()
	if err != nil {
		return nil, err
	}
	p.stdin = stdin
	// A configuration is smaller than a pipe (64 KiB), so this doesn't wait for a reader.
	_, err = own.WriteString(config, c.Config)
	err = errors.Join(err, config.Close())
	for _, f := range []**os.File{&p.stdout, &p.stderr, &p.figures} {
		if err == nil {
			*f, err = os.CreateTemp("/run", "process-")
		}
	}
	if err != nil {
		p.close()
	}
	return p, err
}

func (p *process) close() {
	p.stdin.Close()
	for _, f := range []*os.File{p.stdout, p.stderr, p.figures} {
		if f != nil {
			f.Close()
			os.Remove(f.Name())
		}
	}
}

// run starts the launcher, which measures the process, and waits for both.
func (p *process) run(launcher string) (Sample, error) {
	defer p.close()
	pid, err := p.start(launcher, nil)
	if err != nil {
		return Sample{}, err
	}
	return p.wait(pid)
}

// start starts the launcher. With a gate, it waits until that pipe's other end is closed.
func (p *process) start(launcher string, gate *os.File) (pid int, err error) {
	attr := &syscall.ProcAttr{
		Env: p.env, Files: []uintptr{p.stdin.Fd(), p.stdout.Fd(), p.stderr.Fd(), p.figures.Fd()},
	}
	if gate != nil {
		attr.Files = append(attr.Files, gate.Fd())
	}
	if pid, err = syscall.ForkExec(launcher, append([]string{launcher}, p.argv...), attr); err != nil {
		err = fmt.Errorf("start %s: %w", launcher, err)
	}
	return pid, err
}

// wait returns the launcher's measurements. A plugin that failed is an error.
func (p *process) wait(pid int) (Sample, error) {
	var status unix.WaitStatus
	var err error
	for {
		if _, err = unix.Wait4(pid, &status, 0, nil); !errors.Is(err, unix.EINTR) {
			break
		}
	}
	if err != nil {
		return Sample{}, fmt.Errorf("wait: %w", err)
	}
	if status != 0 {
		return Sample{}, fmt.Errorf("launcher: exit status %d, signal %d", status.ExitStatus(), status.Signal())
	}
	return p.sample()
}

func (p *process) sample() (Sample, error) {
	figures, err := os.ReadFile(p.figures.Name())
	if err != nil {
		return Sample{}, err
	}
	var s Sample
	var status unix.WaitStatus
	var nanos, start int64
	if _, err := fmt.Sscan(string(figures), &status, &nanos, &s.Faults, &s.CPUMicros, &s.RSS, &start, &s.Major); err != nil {
		return Sample{}, fmt.Errorf("figures %q: %w", figures, err)
	}
	if status != 0 {
		return Sample{}, p.failure(status)
	}
	s.Micros, s.start = float64(nanos)/1e3, float64(start)/1e3
	return s, nil
}

// failure returns the reason in the plugin's own words.
func (p *process) failure(status unix.WaitStatus) error {
	said, _ := os.ReadFile(p.stdout.Name())
	complaint, _ := os.ReadFile(p.stderr.Name())
	return fmt.Errorf("exit status %d, signal %d: %s %s", status.ExitStatus(), status.Signal(),
		strings.TrimSpace(string(said)), strings.TrimSpace(string(complaint)))
}

// output runs a command in the thread's namespace, for set-up and verification.
func output(command ...string) (string, error) {
	out, err := exec.Command(command[0], command[1:]...).Output()
	var exit *exec.ExitError
	if errors.As(err, &exit) {
		err = fmt.Errorf("%s: %w: %s", strings.Join(command, " "), err, strings.TrimSpace(string(exit.Stderr)))
	}
	return string(out), err
}
