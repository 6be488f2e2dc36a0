// SPDX-License-Identifier: Apache-2.0

package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"os"
	"runtime"
	"time"

	"github.com/swiftcni/swiftcni/internal/test/box"
	"golang.org/x/sys/unix"
)

// inBox is the role of the copy of the program that makes trials, in a box. It reads plugins, then
// trials, and writes an outcome for each.
const inBox = "crash"

const (
	reapLimit   = time.Minute // for orphans to end
	settleLimit = time.Minute // for the kernel to clean namespaces up
)

// question is a request to a worker: a trial, or with Settle the namespaces that are still held.
type question struct {
	Trial  Trial
	Settle bool `json:",omitempty"`
}

type reply struct {
	Outcome Outcome
	Held    map[int]int `json:",omitempty"` // trial: namespaces
	Err     string      `json:",omitempty"`
}

// worker makes trials on one thread. Network namespaces and traces belong to threads.
type worker struct {
	plugins    map[string]*Plugin
	known      map[string]*known
	references *references
	netns      int // where no trial happens
}

// insideMain works, if the process was started for that.
func insideMain() {
	if box.Role() != inBox {
		return
	}
	runtime.LockOSThread()
	if err := work(os.Stdin, os.Stdout); err != nil {
		fmt.Fprintln(os.Stderr, "crash:", err)
		os.Exit(1)
	}
	os.Exit(0)
}

func work(r io.Reader, w io.Writer) error {
	if err := unix.Prctl(unix.PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0); err != nil {
		return fmt.Errorf("become a subreaper: %w", err)
	}
	netns, err := unix.Open("/proc/thread-self/ns/net", unix.O_RDONLY|unix.O_CLOEXEC, 0)
	if err != nil {
		return err
	}
	refs, err := newReferences()
	if err != nil {
		return err
	}
	k := &worker{plugins: map[string]*Plugin{}, known: map[string]*known{}, references: refs, netns: netns}
	in, out := json.NewDecoder(r), json.NewEncoder(w)
	var plugins []Plugin
	if err := in.Decode(&plugins); err != nil {
		return err
	}
	for i := range plugins {
		k.plugins[plugins[i].Name] = &plugins[i]
	}
	for {
		var q question
		if err := in.Decode(&q); errors.Is(err, io.EOF) {
			return nil
		} else if err != nil {
			return err
		}
		if err := out.Encode(k.answer(q)); err != nil {
			return err
		}
	}
}

func (w *worker) answer(q question) (r reply) {
	var err error
	if q.Settle {
		r.Held, err = w.references.settle(settleLimit)
	} else {
		r.Outcome, err = w.try(q.Trial)
	}
	if err != nil {
		r.Err = err.Error()
	}
	return r
}

// home moves the thread out of the trial's namespace, which may then end.
func (w *worker) home() error { return unix.Setns(w.netns, unix.CLONE_NEWNET) }

// addressesOf returns the addresses that a container really has.
func (t *trying) addressesOf(id string) (list []netip.Addr, err error) {
	err = t.host.inside(id, func() error {
		links, err := net.Interfaces()
		if err != nil {
			return err
		}
		for _, l := range links {
			addrs, err := l.Addrs()
			if err != nil {
				return err
			}
			for _, a := range addrs {
				n, ok := a.(*net.IPNet)
				if ok && l.Flags&net.FlagLoopback == 0 && !n.IP.IsLinkLocalUnicast() {
					addr, _ := netip.AddrFromSlice(n.IP)
					list = append(list, addr.Unmap())
				}
			}
		}
		return nil
	})
	return list, err
}
