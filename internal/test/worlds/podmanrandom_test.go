// SPDX-License-Identifier: Apache-2.0

//go:build worlds

package worlds_test

import (
	"fmt"
	"strings"
	"sync"
	"testing"
)

// churn starts and removes containers until it's told to stop. Errors go to a function, which says
// whether they may be.
func (p *podman) churn(workers int, failed func(error)) (stop func()) {
	ended := make(chan struct{})
	var all sync.WaitGroup
	for i := range workers {
		all.Go(func() {
			name := fmt.Sprint("c", i)
			for {
				if err := p.try(front(name, 9100+i)...); err != nil {
					failed(err)
				}
				if err := p.rm(name); err != nil {
					p.t.Error(err)
				}
				select {
				case <-ended:
					return
				default:
				}
			}
		})
	}
	return func() {
		close(ended)
		all.Wait()
	}
}

// Containers start and stop while the resident is replaced by another version, and podman notices
// nothing.
func TestPodmanUpgradesTheResident(t *testing.T) {
	p := newFront(t)
	next := nextSwiftctl(t)
	r := p.reside()
	recorded := p.record()
	stop := p.churn(3, func(err error) { t.Error(err) })
	var made []*resident
	for _, program := range []string{next, swiftctl, next} {
		p.await("the resident makes calls", func() bool { return r.calls("ADD") > 4 && r.calls("DEL") > 4 })
		made = append(made, r)
		r = p.resideBy(program)
		made[len(made)-1].end("TERM")
	}
	p.await("the last resident makes calls", func() bool { return r.calls("ADD") > 4 && r.calls("DEL") > 4 })
	stop()
	p.wantClean("all are removed")
	for call, count := range r.made() {
		for _, earlier := range made {
			count += earlier.made()[call]
		}
		if calls := strings.Count(strings.Join(recorded(), "\n")+"\n", call+" "); calls != count {
			t.Errorf("%s: the residents made %d of %d calls", call, count, calls)
		}
	}
	if said, err := p.Run(swiftctl, "doctor"); err == nil || !strings.Contains(said, "resident-version") || !strings.Contains(said, nextVersion) {
		t.Errorf("swiftctl doctor says %v\n%s", err, said)
	}
	if said := p.do(next, "doctor"); !strings.Contains(said, "a resident of this version") {
		t.Errorf("the next version's doctor says\n%s", said)
	}
}

// The resident is killed again and again while containers start and stop. Each time one ADD may
// fail, and `podman rm` is the end of it.
func TestPodmanKillsTheResidentAtRandom(t *testing.T) {
	p := newFront(t)
	var mu sync.Mutex
	lost := 0
	r := p.reside()
	stop := p.churn(3, func(err error) {
		mu.Lock()
		defer mu.Unlock()
		if lost++; !strings.Contains(err.Error(), died) {
			t.Error(err)
		}
	})
	const kills = 6
	for range kills {
		p.await("the resident makes calls", func() bool { return r.calls("ADD") > 0 && r.calls("DEL") > 0 })
		r.end("KILL")
		r = p.reside()
	}
	stop()
	if lost > kills {
		t.Errorf("%d containers failed beside %d kills", lost, kills)
	}
	t.Logf("%d containers failed beside %d kills", lost, kills)
	p.wantClean("all are removed")
}
