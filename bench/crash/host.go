// SPDX-License-Identifier: Apache-2.0

package main

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// runDir is on a file system that a boot makes anew.
const runDir = "/run/cni"

// stateDirs are the directories, in the box, in which plugins keep state that outlives them.
var stateDirs = [...]string{"/var/lib/cni", runDir}

// host is the place of one trial: a network namespace, which the calling thread is in, containers,
// and empty state directories.
type host struct {
	netns      int // descriptor
	containers map[string]int
	references *references
	trial      int
	master     string // the link that a plugin's are on, or empty
	lends      bool   // each container is to have a link of the host's
}

func containerPath(id string) string { return filepath.Join("/run/netns", id) }

func newHost(p *Plugin, trial int, refs *references) (*host, error) {
	for _, dir := range stateDirs {
		if err := empty(dir); err != nil {
			return nil, err
		}
	}
	return bootHost(p, trial, refs)
}

// bootHost makes a host with the present state directories.
func bootHost(p *Plugin, trial int, refs *references) (*host, error) {
	h := &host{netns: -1, containers: map[string]int{}, references: refs, trial: trial, master: p.Master, lends: p.Lends}
	fd, err := newNetNS()
	if err != nil {
		return nil, err
	}
	h.netns = fd
	if err := refs.watch(fd, trial); err != nil {
		h.close()
		return nil, err
	}
	return h, nil
}

// empty removes the content of a directory. A mount point can't be removed itself.
func empty(dir string) error {
	entries, err := os.ReadDir(dir)
	if errors.Is(err, os.ErrNotExist) {
		return nil
	}
	for _, e := range entries {
		err = errors.Join(err, os.RemoveAll(filepath.Join(dir, e.Name())))
	}
	return err
}

// newNetNS makes a network namespace. The thread is in it afterwards.
func newNetNS() (fd int, err error) {
	if err := unix.Unshare(unix.CLONE_NEWNET); err != nil {
		return -1, fmt.Errorf("new network namespace: %w", err)
	}
	return unix.Open("/proc/thread-self/ns/net", unix.O_RDONLY|unix.O_CLOEXEC, 0)
}

// add makes a container's namespace and returns its path.
func (h *host) add(id string) (path string, err error) {
	path = containerPath(id)
	if err := h.lend(id); err != nil {
		return "", err
	}
	fd, err := newNetNS()
	if err != nil {
		return "", err
	}
	defer unix.Close(fd)
	if err := os.WriteFile(path, nil, 0o600); err != nil {
		return "", err
	}
	if err := unix.Mount("/proc/thread-self/ns/net", path, "", unix.MS_BIND, ""); err != nil {
		return "", fmt.Errorf("name network namespace %s: %w", path, err)
	}
	h.containers[id] = 1
	if err := h.references.watch(fd, h.trial); err != nil {
		return "", err
	}
	return path, h.enter()
}

func (h *host) enter() error { return unix.Setns(h.netns, unix.CLONE_NEWNET) }

// inside runs fn in a container's namespace. fn gets nothing that could keep it open.
func (h *host) inside(id string, fn func() error) error {
	fd, err := unix.Open(containerPath(id), unix.O_RDONLY|unix.O_CLOEXEC, 0)
	if err != nil {
		return err
	}
	err = unix.Setns(fd, unix.CLONE_NEWNET)
	unix.Close(fd)
	if err == nil {
		err = fn()
	}
	return errors.Join(err, h.enter())
}

// vanish ends a container's namespace, unless a process holds it.
func (h *host) vanish(id string) error {
	if h.containers[id] == 0 {
		return nil
	}
	delete(h.containers, id)
	return errors.Join(unix.Unmount(containerPath(id), unix.MNT_DETACH), os.Remove(containerPath(id)))
}

// close leaves nothing of the harness itself. The thread stays in the namespace until it makes the
// next one, or goes elsewhere.
func (h *host) close() {
	for id := range h.containers {
		_ = h.vanish(id)
	}
	unix.Close(h.netns)
}

// reap waits for every process that a trial has left, but for those that are to stay. Orphans are the
// harness's children, since it's their subreaper. It kills those that don't end by themselves, and
// returns them.
func reap(limit time.Duration, staying []int) (left []string) {
	killed := make(chan []string, 1)
	watchdog := time.AfterFunc(limit, func() { killed <- killChildren(staying) })
	for {
		pid := -1
		if len(staying) > 0 {
			list := children(staying)
			if len(list) == 0 {
				break
			}
			pid = list[0]
		}
		var status unix.WaitStatus
		if _, err := wait(pid, &status); err != nil {
			break
		}
	}
	if !watchdog.Stop() {
		left = <-killed
	}
	return left
}

// children are the harness's, but for those that are to stay.
func children(staying []int) (list []int) {
	tasks, _ := filepath.Glob("/proc/self/task/*/children")
	for _, task := range tasks {
		text, _ := os.ReadFile(task)
		for _, field := range strings.Fields(string(text)) {
			if pid, err := strconv.Atoi(field); err == nil && !slices.Contains(staying, pid) {
				list = append(list, pid)
			}
		}
	}
	return list
}

func killChildren(staying []int) (list []string) {
	for _, pid := range children(staying) {
		name, _ := os.ReadFile(fmt.Sprintf("/proc/%d/comm", pid))
		list = append(list, "process "+strings.TrimSpace(string(name)))
		_ = unix.Kill(pid, unix.SIGKILL)
	}
	return list
}
