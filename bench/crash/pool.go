// SPDX-License-Identifier: Apache-2.0

package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os/exec"
	"sync"

	"github.com/swiftcni/swiftcni/internal/test/box"
)

// pool is boxes with a worker in each.
type pool struct {
	boxes   []*box.Box
	workers []*remote
}

// remote is a worker in its box.
type remote struct {
	cmd *exec.Cmd
	in  io.WriteCloser
	enc *json.Encoder
	dec *json.Decoder
}

func newPool(n int, plugins []Plugin, stderr io.Writer) (*pool, error) {
	p := &pool{}
	for range n {
		b, err := box.Start(box.Options{Hostname: "crash"})
		if err != nil {
			p.close()
			return nil, err
		}
		p.boxes = append(p.boxes, b)
		r, err := newRemote(b, plugins, stderr)
		if err != nil {
			p.close()
			return nil, err
		}
		p.workers = append(p.workers, r)
	}
	return p, nil
}

func newRemote(b *box.Box, plugins []Plugin, stderr io.Writer) (*remote, error) {
	cmd, err := b.Self(inBox)
	if err != nil {
		return nil, err
	}
	cmd.Stderr = stderr
	in, err := cmd.StdinPipe()
	if err != nil {
		return nil, err
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	if err := cmd.Start(); err != nil {
		return nil, err
	}
	r := &remote{cmd: cmd, in: in, enc: json.NewEncoder(in), dec: json.NewDecoder(out)}
	return r, r.enc.Encode(plugins)
}

func (p *pool) close() {
	for _, r := range p.workers {
		r.in.Close()
		_ = r.cmd.Wait()
	}
	for _, b := range p.boxes {
		b.Close()
	}
}

func (r *remote) ask(q question) (reply, error) {
	if err := r.enc.Encode(q); err != nil {
		return reply{}, err
	}
	var a reply
	if err := r.dec.Decode(&a); err != nil {
		return a, fmt.Errorf("a worker ended: %w", err)
	}
	if a.Err != "" {
		return a, errors.New(a.Err)
	}
	return a, nil
}

// one makes a single trial, and waits for its namespaces.
func (p *pool) one(t Trial) (Outcome, error) {
	outcomes, err := p.try([]Trial{t}, nil)
	if err != nil {
		return Outcome{}, err
	}
	return outcomes[0], nil
}

// try distributes trials and returns their outcomes in order.
func (p *pool) try(trials []Trial, done func(*Outcome)) ([]Outcome, error) {
	outcomes := make([]Outcome, len(trials))
	places := map[int]int{}
	next := make(chan int)
	var (
		mutex sync.Mutex
		group sync.WaitGroup
		fail  error
	)
	for i, t := range trials {
		places[t.ID] = i
	}
	for _, r := range p.workers {
		group.Go(func() {
			var err error
			for i := range next {
				if err != nil {
					continue
				}
				var a reply
				if a, err = r.ask(question{Trial: trials[i]}); err != nil {
					err = fmt.Errorf("%v: %w", trials[i], err)
					continue
				}
				outcomes[i] = a.Outcome
				if done != nil {
					mutex.Lock()
					done(&outcomes[i])
					mutex.Unlock()
				}
			}
			mutex.Lock()
			defer mutex.Unlock()
			if err == nil {
				err = r.settle(outcomes, places)
			}
			fail = errors.Join(fail, err)
		})
	}
	for i := range trials {
		next <- i
	}
	close(next)
	group.Wait()
	return outcomes, fail
}

// settle adds the namespaces that trials still hold to their outcomes.
func (r *remote) settle(outcomes []Outcome, places map[int]int) error {
	a, err := r.ask(question{Settle: true})
	if err != nil {
		return err
	}
	for trial, n := range a.Held {
		if i, ok := places[trial]; ok {
			outcomes[i].Leaks = append(outcomes[i].Leaks, fmt.Sprintf("%d network namespaces held", n))
		}
	}
	return nil
}
