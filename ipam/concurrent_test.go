// SPDX-License-Identifier: Apache-2.0

package ipam

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"sync"
	"testing"

	"github.com/swiftcni/swiftcni/internal/test/nstest"
)

// TestManyAtOnce lets goroutines, processes and the reference reserve and release in one directory.
func TestManyAtOnce(t *testing.T) {
	nstest.Full(t, "it needs the reference's host-local")
	dir := t.TempDir()
	set := sets(t, "10.1.0.0/24")
	const workers = 16
	got := make([][]string, workers)
	var group sync.WaitGroup
	for w := range workers {
		group.Go(func() {
			for i := range 6 {
				id := fmt.Sprintf("w%d-%d", w, i)
				a, err := attachAs(w, dir, id, set)
				if err != nil {
					t.Errorf("%s: %v", id, err)
				}
				got[w] = append(got[w], a)
				if i%2 == 1 {
					if err := detachAs(w+1, dir, id, set); err != nil {
						t.Errorf("%s: %v", id, err)
					}
				}
			}
		})
	}
	group.Wait()
	check(t, dir)
	held := make(map[string]bool)
	s := mustOpen(t, dir)
	for l, err := range s.Leases() {
		if err != nil || held[l.Prefix.String()] {
			t.Errorf("%v: %v", l, err)
		}
		held[l.Prefix.String()] = true
	}
	s.Close()
	kept := make(map[string]bool)
	for w := range got {
		for i, a := range got[w] {
			if i%2 == 0 && a != "" {
				if kept[a] || !held[a+"/32"] {
					t.Errorf("%s was given twice, or is free", a)
				}
				kept[a] = true
			}
		}
	}
	if len(held) != workers*3 {
		t.Errorf("%d leases are held", len(held))
	}
}

// attachAs reserves in this process, in one of its own, or as the reference; "" where the address
// isn't told.
func attachAs(w int, dir, id string, set []RangeSet) (string, error) {
	switch w % 4 {
	case 0:
		cmd := exec.Command(os.Args[0])
		cmd.Env = append(os.Environ(), helperVar+"=reserve "+dir+" "+id+" 10.1.0.0/24")
		out, err := cmd.CombinedOutput()
		if err != nil {
			return "", fmt.Errorf("%w, %s", err, out)
		}
		return "", nil
	case 1:
		return hostLocalError(dir, "ADD", owner(id), set, nil)
	}
	s, err := Open(context.Background(), dir, "net")
	if err != nil {
		return "", err
	}
	defer s.Close()
	leases, err := s.Reserve(Request{Owner: owner(id), Sets: set, Record: evidence})
	if err != nil {
		return "", err
	}
	return leases[0].Prefix.Addr().String(), nil
}

func detachAs(w int, dir, id string, set []RangeSet) error {
	if w%4 == 1 {
		_, err := hostLocalError(dir, "DEL", owner(id), set, nil)
		return err
	}
	s, err := OpenExisting(context.Background(), dir, "net")
	if err != nil {
		return err
	}
	defer s.Close()
	return s.Release(owner(id))
}
