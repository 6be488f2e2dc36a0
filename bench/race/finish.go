// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"

	"github.com/swiftcni/swiftcni/ipam"
)

// finish checks all attachments by the plugin's own CHECK, removes them, and looks for remains.
func (r *runner) finish() error {
	last := r.report.Ops
	if err := r.checkAll(last); err != nil {
		return err
	}
	if err := r.detachAll(last); err != nil {
		return err
	}
	for _, n := range r.model.networks {
		if err := r.collectAll(last, n); err != nil {
			return err
		}
	}
	if err := r.pause(last); err != nil {
		return err
	}
	for _, n := range r.model.networks {
		r.checkStore(last, n)
	}
	if r.plan.Foreign {
		if err := r.checkForeignRules(last); err != nil {
			return err
		}
	}
	if r.stopped.Load() {
		return errViolated
	}
	return nil
}

// each does something to all attachments that a predicate picks, with the choices of later
// operations.
func (r *runner) each(number int, name string, picks func(*attachment) bool, do func(*op, *attachment) error) error {
	next := number
	for _, s := range r.model.slots {
		for _, a := range s.attachments {
			if !picks(a) {
				continue
			}
			o := r.schedule.op(next)
			o.number, o.name = number, name
			if err := do(o, a); err != nil {
				return err
			}
			if r.stopped.Load() {
				return errViolated
			}
			next++
		}
	}
	return nil
}

func (r *runner) checkAll(number int) error {
	return r.each(number, "last check", func(a *attachment) bool { return a.state == live }, r.inspect)
}

func (r *runner) detachAll(number int) error {
	err := r.each(number, "last del", func(a *attachment) bool { return a.state != absent },
		func(o *op, a *attachment) error { return r.detach(o, a, 0) })
	if err != nil {
		return err
	}
	for _, n := range r.model.networks {
		for _, g := range n.guests {
			if g.state == absent {
				continue
			}
			if err := r.lease(&op{number: number, kind: kind{name: "last reference del"}}, g, "DEL", 0); err != nil {
				return err
			}
		}
	}
	return nil
}

// collectAll runs GC with an empty list, after which not even empty leases of the reference may be
// left.
func (r *runner) collectAll(number int, n *network) error {
	out, err := r.perform(n, nil, call{verb: "GC"}, nil, []validAttachment{})
	if err != nil {
		return err
	}
	r.count("last gc", out.short())
	if !r.plan.Foreign {
		r.meetGC(&op{number: number}, n, out)
		r.model.guestKilled = false
	}
	return nil
}

// checkForeignRules looks for rules that name a container, in the form of any plugin.
func (r *runner) checkForeignRules(number int) error {
	out, err := exec.Command("nft", "list", "ruleset").Output()
	if err != nil {
		return fmt.Errorf("nft list ruleset: %w", err)
	}
	ids := map[string]bool{}
	for _, s := range r.model.slots {
		for i := range s.generation {
			ids[s.idOf(i+1)] = true
		}
	}
	left := map[string]bool{}
	for _, word := range strings.FieldsFunc(string(out), func(c rune) bool { return strings.ContainsRune(" \t\n\",;:/", c) }) {
		if ids[word] && !left[word] {
			left[word] = true
			r.violate(number, ownerless, text("rules of "+word), "all is detached", nil)
		}
	}
	return nil
}

// checkStore asks the lease store itself, and looks for files that nobody needs.
func (r *runner) checkStore(number int, n *network) {
	if n.ipam == "" || r.plan.Foreign {
		return
	}
	s, err := ipam.Open(context.Background(), filepath.Dir(n.ipam), n.name)
	if err == nil {
		err = errors.Join(s.Check(), s.Close())
	}
	if err != nil {
		r.violate(number, storeDamaged, text(n.name), err.Error(), nil)
	}
	for _, dir := range []string{n.ipam, filepath.Join(filepath.Dir(n.ipam), ".swiftcni", n.name)} {
		list, err := os.ReadDir(dir)
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			r.violate(number, storeDamaged, text(n.name), err.Error(), nil)
		}
		for _, e := range list {
			if !belongs(e.Name()) {
				r.violate(number, ownerless, text(fmt.Sprintf("file %s/%s", dir, e.Name())), "all is detached", nil)
			}
		}
	}
}

// belongs recognizes the files of a store that holds nothing.
func belongs(name string) bool {
	return name == "lock" || name == "@taken" || name == "@reused" || strings.HasPrefix(name, "last_reserved_ip.") || strings.HasPrefix(name, "@boot.")
}
