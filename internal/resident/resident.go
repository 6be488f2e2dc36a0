// SPDX-License-Identifier: Apache-2.0

// Package resident makes plugins' calls in a process that stays, for callers that hand them over
// (package handover). It holds nothing that matters: leases, links and rules are where a process of
// its own would leave them, so a resident may end at any moment, and another may work beside it.
package resident

import (
	"context"
	"errors"
	"io"
	"net"
	"os"
	"runtime/debug"
	"sync"
	"time"

	"github.com/swiftcni/swiftcni/cni"
	"github.com/swiftcni/swiftcni/internal/handover"
	"github.com/swiftcni/swiftcni/internal/inside"
	"github.com/swiftcni/swiftcni/internal/netavark"
	"github.com/swiftcni/swiftcni/internal/process"
	"github.com/swiftcni/swiftcni/internal/sockets"
	"golang.org/x/sys/unix"
)

// Limits. Whoever is beyond one makes the call itself.
const (
	maxCalls  = 1024            // at once: each can hold a thread while it reads its input
	untilSaid = 5 * time.Second // in which a caller sends its message, right after it has connected
)

// A Server answers calls.
type Server struct {
	o         Options
	own       place
	sockets   *sockets.Pool
	slots     chan struct{} // one for each call that runs
	calls     sync.WaitGroup
	messages  sync.Pool // *[]byte of handover.MaxMessage
	turns     turns
	running   running
	spare     spare
	listeners listeners
}

// Options are what the program wants to know of its calls. The functions may be called from many
// goroutines at once, and may be nil.
type Options struct {
	Log  func(text string) // what is wrong with the server itself
	Done func(Call)        // a call that is over; its caller may still wait
}

// A Call is one that was made here. Its verb is CNI's, or netavark's.
type Call struct {
	Plugin, Verb string
	Err          error // an *cni.Error, or nil
	Took         time.Duration
}

// New returns a server for callers in this process's namespaces.
func New(o Options) (*Server, error) {
	own, err := here()
	if err != nil {
		return nil, err
	}
	// Only a locked thread leaves this namespace, for a moment of a call.
	kept, err := sockets.NewFixed()
	if err != nil {
		return nil, err
	}
	s := &Server{o: o, own: own, slots: make(chan struct{}, maxCalls), sockets: kept}
	s.messages.New = func() any { b := make([]byte, handover.MaxMessage+1); return &b }
	s.turns.waiting = make(map[string]*turn)
	s.spare.open()
	return s, nil
}

// Serve answers the callers of a listener until the context ends. It then removes the socket's file,
// answers those who have found it before, and returns once the calls that have begun are over.
func (s *Server) Serve(ctx context.Context, l *Listener) error {
	stop := context.AfterFunc(ctx, func() {
		if err := l.remove(); err != nil {
			s.log("remove the socket: " + err.Error())
		}
		_ = l.SetDeadline(time.Now().Add(l.last()))
	})
	defer stop()
	s.turns.others, s.running.others = l.shared, l.shared
	defer l.forget()
	defer s.sockets.Close()
	defer s.listeners.end() // they hear of the last calls, too
	defer s.calls.Wait()
	defer l.Close()
	defer s.spare.close()
	for {
		conn, err := l.AcceptUnix()
		switch {
		case errors.Is(err, os.ErrDeadlineExceeded):
			return nil
		case errors.Is(err, unix.EMFILE), errors.Is(err, unix.ENFILE):
			s.log("accept: " + err.Error())
			if !s.spare.sendBack(l) {
				s.oneEnds(ctx)
			}
			continue
		case errors.Is(err, unix.ENOBUFS), errors.Is(err, unix.ENOMEM), errors.Is(err, unix.ENOSPC):
			// It's better once a call has ended. Callers for whom the kernel has no place meanwhile
			// make their calls themselves.
			s.log("accept: " + err.Error())
			s.oneEnds(ctx)
			continue
		case err != nil:
			return err
		}
		select {
		case s.slots <- struct{}{}:
		default:
			sendBack(conn)
			conn.Close()
			continue
		}
		s.calls.Add(1)
		go func() {
			defer s.calls.Done()
			defer func() { <-s.slots }()
			s.serve(conn)
		}()
	}
}

// oneEnds waits until a call can have ended.
func (s *Server) oneEnds(ctx context.Context) {
	select {
	case <-ctx.Done():
	case <-time.After(100 * time.Millisecond):
	}
}

// serve answers one caller.
func (s *Server) serve(conn *net.UnixConn) {
	kept := false // by somebody who listens
	defer func() {
		if !kept {
			conn.Close()
		}
	}()
	buffer := s.messages.Get().(*[]byte)
	m, files, err := receive(conn, *buffer)
	s.messages.Put(buffer)
	defer files.close()
	if err != nil || !asks(&m) && !understood(&m) {
		sendBack(conn)
		return
	}
	caller, ok := s.own.has(conn)
	switch {
	case ok && asks(&m):
		kept = s.reply(conn, &m, files, caller)
		return
	case !ok || !caller.able:
		sendBack(conn)
		return
	}
	s.call(conn, &m, files, caller)
}

// call makes a caller's call, and answers with its status.
func (s *Server) call(conn *net.UnixConn, m *message, files streams, caller caller) {
	defer func() {
		// The caller reads the end, and says that its call may be half done.
		if p := recover(); p != nil {
			if lost, ok := p.(inside.Lost); ok {
				panic(lost) // the process must end
			}
			s.log("a call failed beyond repair: " + text(p) + "\n" + string(debug.Stack()))
		}
	}()
	ctx, gone := context.WithCancelCause(context.Background())
	defer gone(nil)
	in := &input{fd: files[0], caller: caller.conn, pieces: netavark.IsCall(m.args)}
	read := in.kept
	if m.once() {
		read = in.whole
	}
	stdin, ok := read()
	if !ok {
		return // nobody hears an answer
	}
	go func() {
		// Nothing more is sent, so this ends with the caller, or with the connection.
		var b [1]byte
		if _, err := conn.Read(b[:]); err == io.EOF || errors.Is(err, unix.ECONNRESET) {
			gone(errGone)
		}
	}()
	verb, container, run := m.getenv("CNI_COMMAND"), m.getenv("CNI_CONTAINERID"), cni.Run
	if netavark.IsCall(m.args) {
		verb, container = m.args[1], netavark.Container(in.text)
		run = func(ctx context.Context, p cni.Process) error { return netavark.Run(ctx, m.args, p) }
	}
	if verb == "ADD" {
		s.running.awaitOrphans(true)
	}
	defer s.turns.take(container)()
	defer s.running.begin(caller.conn, verb == "GC")()
	if verb == "GC" {
		s.running.awaitOrphans(false)
	}
	if isGone(caller.conn) {
		return // what came after it mayn't have waited for it
	}
	if s.listeners.any.Load() {
		ctx = process.WithTell(ctx, s.listeners.tell)
	}
	start, plugin := time.Now(), cni.Name(m.args[0])
	err := process.Lend(ctx, s.sockets, func(ctx context.Context) error {
		return run(ctx, cni.Process{
			Name:   plugin,
			Env:    m.env,
			Dir:    caller.dir,
			Exe:    caller.exe,
			Stdin:  stdin,
			Stdout: &output{fd: files[1], caller: caller.conn},
			Stderr: &output{fd: files[2], caller: caller.conn},
		})
	})
	if s.o.Done != nil {
		s.o.Done(Call{Plugin: plugin, Verb: verb, Err: err, Took: time.Since(start)})
	}
	if err != nil {
		answer(conn, 1)
		return
	}
	answer(conn, 0)
}

func (s *Server) log(text string) {
	if s.o.Log != nil {
		s.o.Log(text)
	}
}

var errGone = errors.New("the caller is gone")

// answer ends a caller's wait.
func answer(conn *net.UnixConn, status byte) { _, _ = conn.Write([]byte{status}) }

// sendBack lets a caller make its call itself, also one that is just sending its message. If that were
// left unread, the kernel would tell the caller of a reset before the answer.
func sendBack(conn *net.UnixConn) {
	answer(conn, handover.DoItYourself)
	if conn.CloseRead() != nil || conn.SetReadDeadline(time.Time{}) != nil {
		return
	}
	// Nothing comes any more, so this doesn't wait. The descriptors of a message go with it.
	var b [1]byte
	for n := 1; n > 0; {
		n, _ = conn.Read(b[:])
	}
}

// text is what a panic says.
func text(p any) string {
	switch p := p.(type) {
	case error:
		return p.Error()
	case string:
		return p
	}
	return "panic"
}
