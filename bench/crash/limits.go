// SPDX-License-Identifier: Apache-2.0

package main

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strings"

	"golang.org/x/sys/unix"
)

// Events that happen during a system call of a verb.
const (
	eventVanish = "namespace ends"
	eventFlush  = "ruleset flushed"
	eventBridge = "bridge deleted"
)

// Shortages, during the whole run of a verb.
const (
	eventPorts  = "bridge full"
	eventFiles  = "descriptors"
	eventInodes = "inodes"
	eventBlocks = "blocks"
	eventStorm  = "interrupts"
	eventFrozen = "read-only"
	eventMemory = "receive buffer"
	eventUnread = "answer unread"
)

// scarcities returns how far each limit goes up, from 1.
func scarcities() map[string]int {
	return map[string]int{eventFiles: 14, eventInodes: 14, eventBlocks: 4, eventStorm: 3, eventFrozen: 1, eventMemory: 4, eventUnread: 1}
}

// limits disturbs a verb by an event on its host, or by a shortage.
func (t *trying) limits() error {
	if isDisk(t.Trial.Event) {
		if err := mountState(); err != nil {
			return err
		}
		defer func() { _ = unix.Unmount(stateDirs[0], unix.MNT_DETACH) }()
	}
	if err := t.begin(); err != nil {
		return err
	}
	tr := &tracer{decide: t.here(verdict{hook: t.event})}
	if t.Trial.At.Name == "" {
		t.Reached = true
		if err := t.scarce(tr); err != nil {
			return err
		}
	}
	a, err := t.disturbed(tr)
	if err != nil {
		return err
	}
	if isDisk(t.Trial.Event) {
		if err := remount(""); err != nil {
			return err
		}
	}
	if err := errors.Join(t.accept(a, tr), t.host.connect()); err != nil {
		return err
	}
	if t.Trial.Event == eventPorts { // no other program gets in, either
		if err := exec.Command("ip", "link", "delete", "group", "77").Run(); err != nil {
			return fmt.Errorf("empty the bridge: %w", err)
		}
	}
	return t.afterwards(a)
}

func isDisk(event string) bool {
	return event == eventInodes || event == eventBlocks || event == eventFrozen
}

// accept reports whether a verb's answer is right. Success is whole if the verb has sent something
// to nftables after a flush. Failure has the specification's form, and of ADD nothing is left. DEL
// never fails for something that is gone.
func (t *trying) accept(a answer, tr *tracer) error {
	// If a member of a list or chain has sent something already, no later one misses it.
	sent := tr.sends
	if t.plugin.Brief {
		sent = tr.firstSends
	}
	flushed := t.Trial.Event == eventFlush && t.Reached && t.Trial.Member == 0 && tr.hooked <= sent[unix.NETLINK_NETFILTER]
	switch {
	case t.Crashed || a.crashed():
		t.Crashed = true
		return nil
	case a.cut():
		return nil // as after a kill
	case a.ok() && t.Trial.Verb == "ADD" && t.Trial.Event == eventUnread:
		t.wrong("ADD succeeded although nobody read its answer")
		return nil
	case a.ok() && t.Trial.Verb == "ADD" && flushed:
		t.result[victim] = a.stdout
		c, err := t.verb("CHECK", victim)
		if err == nil && !c.ok() {
			t.wrong("ADD succeeded but isn't whole: %v", c)
		}
		return err
	case a.ok():
		return nil
	}
	// An error that nobody can hear needn't be reported.
	if err := a.refusal(); err != nil && t.Trial.Event != eventUnread {
		t.wrong("%v", err)
	}
	if t.Trial.Verb == "DEL" && t.Trial.At.Name != "" {
		t.wrong("DEL: %v", a)
	}
	// In a list, the work of earlier members stays until DEL.
	if t.Trial.Verb != "ADD" || len(t.plugin.Followers) > 0 {
		return nil
	}
	return t.victimLeftNothing()
}

// victimLeftNothing looks for the remains of an ADD before DEL. Its host may have others.
func (t *trying) victimLeftNothing() error {
	t.pause()
	now, err := t.host.take()
	if err != nil {
		return err
	}
	links := 0
	for line := range now {
		name, isLink := strings.CutPrefix(line, "host link ")
		if isLink && randomName.MatchString(name) {
			links++
		}
		if strings.HasPrefix(line, "container "+victim+" link") || strings.Contains(line, "/"+victim+"/") ||
			strings.HasSuffix(line, "/"+victim+":eth0") {
			t.Leaks = append(t.Leaks, line+" after failure, before DEL")
		}
	}
	if most := len(t.live); links > most {
		t.Leaks = append(t.Leaks, fmt.Sprintf("%d host ends of %d attachments after failure, before DEL", links, most))
	}
	return nil
}

// event happens at a system call.
func (t *trying) event() error {
	switch t.Trial.Event {
	case eventVanish:
		return t.host.vanish(victim)
	case eventFlush:
		t.hurt = true
		return exec.Command("nft", "flush", "ruleset").Run()
	case eventBridge:
		t.hurt = true
		t.cut()
		return nil
	}
	return fmt.Errorf("no event is called %q", t.Trial.Event)
}

// scarce makes something scarce for the next run.
func (t *trying) scarce(tr *tracer) error {
	n := t.Trial.Limit
	switch t.Trial.Event {
	case eventFiles:
		if t.resident != nil {
			t.resident.limitFiles(tr, n)
			return nil
		}
		tr.prepare = func(pid int) error {
			limit := unix.Rlimit{Cur: uint64(n + 2), Max: uint64(n + 2)}
			return unix.Prlimit(pid, unix.RLIMIT_NOFILE, &limit, nil)
		}
	case eventStorm:
		tr.decide = storm(n)
	case eventInodes:
		return remount(fmt.Sprintf("nr_inodes=%d", inodes()+n-1))
	case eventBlocks:
		return remount(fmt.Sprintf("size=%d", max(blocks()+n-1, 1)*os.Getpagesize()))
	case eventFrozen:
		return unix.Mount("", stateDirs[0], "", unix.MS_REMOUNT|unix.MS_RDONLY, "")
	case eventMemory:
		tr.opened = smallBuffer(n)
	case eventPorts:
		return t.fillBridge()
	case eventUnread:
		t.deaf = true
	default:
		return fmt.Errorf("no event is called %q", t.Trial.Event)
	}
	return nil
}

// storm interrupts calls that are made again after an interruption: each of the first n of n+1, so
// that n attempts fail and the next succeeds.
func storm(n int) func(Call) verdict {
	return func(c Call) verdict {
		for _, e := range errnosOf(c.Name) {
			if e == unix.EINTR && c.Name != "close" && c.Nth%(n+1) == 0 {
				return verdict{errno: unix.EINTR}
			}
		}
		return verdict{}
	}
}

// mountState puts the state on a file system of its own, which can be full.
func mountState() error {
	return unix.Mount("tmpfs", stateDirs[0], "tmpfs", 0, "mode=755")
}

// remount gives the state's file system other limits. By default there are none.
func remount(options string) error {
	if options == "" {
		options = "size=1048576,nr_inodes=1000"
	}
	return unix.Mount("", stateDirs[0], "", unix.MS_REMOUNT, options)
}

// inodes and blocks in use.
func inodes() int {
	var s unix.Statfs_t
	if unix.Statfs(stateDirs[0], &s) != nil {
		return 1
	}
	return int(s.Files - s.Ffree)
}

func blocks() int {
	var s unix.Statfs_t
	if unix.Statfs(stateDirs[0], &s) != nil {
		return 0
	}
	return int(s.Blocks - s.Bfree)
}

// smallBuffer returns a function that leaves little room to receive for a socket that a process has
// just opened. The kernel doubles the number, and gives about 2 KiB in any case.
func smallBuffer(kib int) func(pid, fd int) {
	return func(pid, fd int) {
		pidfd, err := unix.PidfdOpen(pid, 0)
		if err != nil {
			return
		}
		defer unix.Close(pidfd)
		if fd, err = unix.PidfdGetfd(pidfd, fd, 0); err != nil {
			return
		}
		defer unix.Close(fd)
		_ = unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_RCVBUF, kib<<10)
	}
}

// fillBridge adds ports until the bridge accepts no more (BR_MAX_PORTS, net/bridge/br_private.h).
func (t *trying) fillBridge() error {
	var b strings.Builder
	for i := range 1023 - len(t.live) {
		fmt.Fprintf(&b, "link add d%d master %s group 77 type veth peer name e%d\n", i, t.plugin.Bridge, i)
	}
	cmd := exec.Command("ip", "-batch", "-")
	cmd.Stdin = strings.NewReader(b.String())
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("fill the bridge: %w: %s", err, firstLine(string(out)))
	}
	return nil
}
