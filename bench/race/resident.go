// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/swiftcni/swiftcni/internal/handover"
	"golang.org/x/sys/unix"
)

// residents make the calls of the plugins' processes: one that listens, or none, and those before
// it, which finish their calls.
type residents struct {
	sync.Mutex                         // held by an operation that changes which one listens
	program    string                  // whose subcommand serve is a resident; "": there's none
	now        *serving                // that listens; may be nil
	problem    func(what, said string) // hears what mustn't be
	marks      sync.Mutex              // guards kills
	kills      disturbance             // of residents
	calls      atomic.Int64            // that were made by those which have ended
}

// serving is one resident.
type serving struct {
	cmd   *exec.Cmd
	log   *os.File
	told  atomic.Bool // to end
	ended chan struct{}
}

// socketFile is the number of the file of the resident's socket, or 0.
func socketFile() uint64 {
	var st unix.Stat_t
	_ = unix.Stat(handover.Socket, &st)
	return st.Ino
}

// start starts a resident, which takes the socket over, and waits until it listens.
func (rs *residents) start() error {
	fd, err := unix.MemfdCreate("resident", unix.MFD_CLOEXEC)
	if err != nil {
		return fmt.Errorf("memfd: %w", err)
	}
	s := &serving{cmd: exec.Command(rs.program, "serve", "--verbose"), log: os.NewFile(uintptr(fd), "resident"), ended: make(chan struct{})}
	s.cmd.Stderr = s.log
	before := socketFile()
	if err := s.cmd.Start(); err != nil {
		return err
	}
	go func() {
		_ = s.cmd.Wait()
		rs.over(s)
		close(s.ended)
	}()
	for deadline := time.Now().Add(processBound); socketFile() == before; time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			return fmt.Errorf("the resident doesn't listen after %v", processBound)
		}
	}
	rs.now = s
	return nil
}

// over looks at what a resident has printed: a line for each call, and nothing else.
func (rs *residents) over(s *serving) {
	defer s.log.Close()
	if !s.told.Load() {
		rs.problem("it ended by itself", s.cmd.ProcessState.String())
	}
	said, err := readAll(s.log)
	if err != nil {
		rs.problem("its lines can't be read", err.Error())
	}
	for line := range bytes.Lines(said) {
		if !strings.Contains(string(line), " ms: ") {
			rs.problem("it prints a line that isn't of a call", string(said[max(0, len(said)-1<<14):]))
			return
		}
		rs.calls.Add(1)
	}
}

// end ends a resident by a signal.
func (rs *residents) end(s *serving, signal os.Signal) {
	s.told.Store(true)
	_ = s.cmd.Process.Signal(signal)
	select {
	case <-s.ended:
	case <-time.After(processBound):
		rs.problem("it doesn't end", fmt.Sprintf("after %v", processBound))
		_ = s.cmd.Process.Kill()
		<-s.ended
	}
	if status := s.cmd.ProcessState; signal != unix.SIGKILL && !status.Success() {
		rs.problem("it doesn't end well", status.String())
	}
}

func (rs *residents) mark() mark {
	rs.marks.Lock()
	defer rs.marks.Unlock()
	return rs.kills.mark()
}

func (rs *residents) killedSince(m mark) bool {
	rs.marks.Lock()
	defer rs.marks.Unlock()
	return rs.kills.since(m)
}

func (rs *residents) kill(s *serving) {
	rs.marks.Lock()
	rs.kills.begun++
	rs.marks.Unlock()
	rs.end(s, unix.SIGKILL)
	rs.marks.Lock()
	rs.kills.ended++
	rs.marks.Unlock()
}

// rest ends the resident once its calls are over, with all that they have left to the kernel.
func (rs *residents) rest() {
	if rs.now != nil {
		rs.end(rs.now, unix.SIGTERM)
		rs.now = nil
	}
}

// resume starts one, if there are any.
func (rs *residents) resume() error {
	if rs.program == "" {
		return nil
	}
	return rs.start()
}

// residentKinds are the operations on a resident. If there's none, each starts one.
func residentKinds() []kind {
	return []kind{
		{"replace resident", 12, (*runner).replaceResident},
		{"kill resident", 12, (*runner).killResident},
		{"stop resident", 4, (*runner).stopResident},
	}
}

// onResident does something to the resident that listens.
func (r *runner) onResident(o *op, do func(*serving) error) error {
	rs := r.residents
	if !rs.TryLock() {
		r.count(o.name, "nothing to do it to")
		return nil
	}
	defer rs.Unlock()
	if rs.now == nil {
		r.count(o.name, "started")
		return rs.start()
	}
	r.count(o.name, "done")
	return do(rs.now)
}

func (r *runner) replaceResident(o *op) error {
	return r.onResident(o, func(old *serving) error {
		err := r.residents.start()
		r.residents.end(old, unix.SIGTERM)
		return err
	})
}

func (r *runner) stopResident(o *op) error {
	return r.onResident(o, func(*serving) error {
		r.residents.rest()
		return nil
	})
}

// killResident kills it, and half the time starts another at once.
func (r *runner) killResident(o *op) error {
	return r.onResident(o, func(s *serving) error {
		time.Sleep(o.delay)
		r.residents.now = nil
		r.residents.kill(s)
		if o.coin(13) {
			return r.residents.start()
		}
		return nil
	})
}

// call runs a call. That a resident was killed in the middle of it is as if the plugin was.
func (r *runner) call(c *call) (*outcome, error) {
	before := r.residents.mark()
	out, err := c.run()
	if err == nil && (out.isCut() || out.saysTwice()) && r.residents.killedSince(before) {
		out.killed, out.cut = true, true
	}
	return out, err
}

// isCut reports whether the caller says that its resident has ended, maybe behind the answer.
func (o *outcome) isCut() bool {
	return o.exit == 1 && bytes.Contains(o.stdout, []byte(`"code":11,"msg":"the resident process ended during the call"`))
}

// saysTwice reports whether the resident's error is followed by that of the caller, which has made the
// call once more.
func (o *outcome) saysTwice() bool {
	d, objects := json.NewDecoder(bytes.NewReader(o.stdout)), 0
	for ; ; objects++ {
		var e pluginError
		if d.Decode(&e) != nil || e.Code == 0 {
			return o.exit == 1 && objects == 2
		}
	}
}

// input is a pipe that holds the configuration, as a runtime's, or a file if it's too large for
// one.
func (c *call) input() (*os.File, error) {
	const pipe = 1 << 15 // less than a pipe takes
	if len(c.config) < pipe {
		r, w, err := os.Pipe()
		if err != nil {
			return nil, err
		}
		defer w.Close()
		_, err = w.Write(c.config)
		return r, err
	}
	fd, err := unix.MemfdCreate("stdin", unix.MFD_CLOEXEC)
	if err != nil {
		return nil, fmt.Errorf("memfd: %w", err)
	}
	f := os.NewFile(uintptr(fd), "stdin")
	_, err = f.Write(c.config)
	if err == nil {
		_, err = f.Seek(0, io.SeekStart)
	}
	return f, err
}
