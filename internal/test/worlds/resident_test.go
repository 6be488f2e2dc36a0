// SPDX-License-Identifier: Apache-2.0

package worlds_test

import (
	"fmt"
	"io"
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/swiftcni/swiftcni/internal/handover"
	"github.com/swiftcni/swiftcni/internal/test/box"
	"github.com/swiftcni/swiftcni/internal/tool/build"
	"golang.org/x/sys/unix"
)

// A resident is a process in the box that makes the plugins' calls.
type resident struct {
	h   *host
	pid string // in the box
	log string
}

// reside starts a resident, which takes the place of one that's there.
func (h *host) reside() *resident {
	h.t.Helper()
	return h.resideBy(swiftctl)
}

// resideBy starts one by a command that is another swiftctl, or that runs one.
func (h *host) resideBy(command ...string) *resident {
	h.t.Helper()
	r := &resident{h: h, log: filepath.Join(h.scratch, "resident-"+strconv.FormatInt(time.Now().UnixNano(), 36))}
	before, _ := h.Run("stat", "-c", "%i", handover.Socket)
	r.pid = h.do("sh", append([]string{"-c", `"$@" serve --verbose </dev/null >/dev/null 2>"$0" & echo $!`, r.log}, command...)...)
	h.await("the resident listens", func() bool {
		now, err := h.Run("stat", "-c", "%i", handover.Socket)
		return err == nil && now != before
	})
	return r
}

// nextVersion is that of nextSwiftctl.
const nextVersion = "v99.0.0"

// nextSwiftctl builds another version of swiftctl.
func nextSwiftctl(t *testing.T) string {
	t.Helper()
	program := filepath.Join(t.TempDir(), "swiftctl")
	flags := "-s -w -X github.com/swiftcni/swiftcni/cni.linkedVersion=" + nextVersion
	err := build.Run(io.Discard, filepath.Join(repository, "cmd/swiftctl"), []string{"CGO_ENABLED=0"}, "go", "build", "-trimpath", "-ldflags", flags, "-o", program, ".")
	if err != nil {
		t.Fatal(err)
	}
	return program
}

// await waits for a condition.
func (h *host) await(what string, true func() bool) {
	h.t.Helper()
	eventually(h.t, what, true)
}

func (r *resident) signal(signal string) {
	r.h.t.Helper()
	r.h.do("kill", "-"+signal, r.pid)
}

// end sends it a signal, and waits until it's gone.
func (r *resident) end(signal string) {
	r.h.t.Helper()
	r.signal(signal)
	r.h.await("the resident ends", func() bool {
		_, err := r.h.Run("kill", "-0", r.pid)
		return err != nil
	})
}

// madeLine is a line of a resident's log about a call.
var madeLine = regexp.MustCompile(`(?m)^swiftctl serve: (\S+) ([A-Za-z]+) [0-9.]+ ms: `)

// made are the calls that it has made: how many of each verb and plugin, such as "ADD bridge".
func (r *resident) made() map[string]int {
	r.h.t.Helper()
	text, err := os.ReadFile(r.log)
	if err != nil {
		r.h.t.Fatal(err)
	}
	tally := map[string]int{}
	for _, m := range madeLine.FindAllStringSubmatch(string(text), -1) {
		tally[m[2]+" "+m[1]]++
	}
	return tally
}

// calls counts the calls of a verb that it has made.
func (r *resident) calls(verb string) (n int) {
	r.h.t.Helper()
	for call, count := range r.made() {
		if strings.HasPrefix(call, verb+" ") {
			n += count
		}
	}
	return n
}

// wantAll wants a resident to have made all calls that were recorded, but those of some verbs.
func (r *resident) wantAll(when string, recorded func() []string, but ...string) {
	r.h.t.Helper()
	var want, made map[string]int
	same := func() bool {
		want, made = map[string]int{}, r.made()
		for _, call := range recorded() {
			fields := strings.Fields(call)
			want[fields[0]+" "+fields[1]]++
		}
		for _, verb := range but {
			for _, tally := range []map[string]int{want, made} {
				maps.DeleteFunc(tally, func(call string, _ int) bool { return strings.HasPrefix(call, verb+" ") })
			}
		}
		return maps.Equal(want, made)
	}
	// A runtime may still be at work behind its client.
	for deadline := time.Now().Add(hang); !same(); time.Sleep(10 * time.Millisecond) {
		if time.Now().After(deadline) {
			r.h.t.Fatalf("%s: the resident made %v, want %v", when, made, want)
		}
	}
	if len(made) == 0 {
		r.h.t.Errorf("%s: no call", when)
	}
}

// died is the text of a call that ran when the resident was killed.
const died = "the resident process ended during the call"

// hold takes the lock of a network's leases, so that each ADD and DEL comes to a halt before it
// takes or gives back an address.
func (h *host) hold(network string) (release func()) {
	h.t.Helper()
	f, err := os.OpenFile(fmt.Sprintf("/proc/%d/root/var/lib/cni/networks/%s/lock", h.PID(), network), os.O_RDWR, 0)
	if err == nil {
		err = unix.Flock(int(f.Fd()), unix.LOCK_EX)
	}
	if err != nil {
		h.t.Fatal(err)
	}
	return func() { f.Close() }
}

// held waits until so many calls wait for the lock of a network's leases.
func (h *host) held(network string, calls int) {
	h.t.Helper()
	var st unix.Stat_t
	if err := unix.Stat(fmt.Sprintf("/proc/%d/root/var/lib/cni/networks/%s/lock", h.PID(), network), &st); err != nil {
		h.t.Fatal(err)
	}
	file := fmt.Sprintf(" %02x:%02x:%d ", unix.Major(st.Dev), unix.Minor(st.Dev), st.Ino)
	h.await("calls wait for the leases", func() bool {
		locks, err := os.ReadFile("/proc/locks")
		if err != nil {
			h.t.Fatal(err)
		}
		waiting := 0
		for line := range strings.Lines(string(locks)) {
			if strings.Contains(line, "-> FLOCK") && strings.Contains(line, file) {
				waiting++
			}
		}
		return waiting >= calls
	})
}

// Pods start and stop while the resident is replaced, killed and missing. What containerd's client
// does about a call that failed, kubelet does too: it calls again.
func TestContainerdByResident(t *testing.T) { podsByResident(newContainerd(t, "")) }

func podsByResident(c *containerd) {
	t := c.t
	const count = 6
	first := c.reside()
	lifeOfAPod(c)
	want := map[string]int{"ADD loopback": 1, "DEL loopback": 2}
	for _, plugin := range []string{"bridge", "portmap", "bandwidth"} {
		want["ADD "+plugin], want["DEL "+plugin] = 1, 2
	}
	if made := first.made(); !maps.Equal(made, want) {
		t.Errorf("the resident made %v, want %v", made, want)
	}
	var pods []pod
	var mu sync.Mutex
	start := func(round int) {
		var all sync.WaitGroup
		for i := range count {
			all.Go(func() {
				n := round*count + i
				p, err := c.run(podConfig(fmt.Sprint("q", n), 9000+n))
				if err != nil {
					t.Error(err)
					return
				}
				mu.Lock()
				defer mu.Unlock()
				pods = append(pods, p)
			})
		}
		all.Wait()
	}
	start(0)
	second := c.resideBy(nextSwiftctl(t))
	first.signal("TERM")
	start(1)
	if second.calls("ADD") == 0 {
		t.Error("the second resident made no call")
	}
	for n := range 2 * count {
		c.wantPage(theOutside, box.BoxIPv4, strconv.Itoa(9000+n))
	}
	var all sync.WaitGroup
	for i, p := range pods {
		all.Go(func() {
			if i == len(pods)/2 {
				second.signal("KILL")
			}
			for try := 0; ; try++ {
				err := c.end(p)
				if err == nil {
					return
				}
				if try == 3 || !strings.Contains(err.Error(), died) {
					t.Error(err)
					return
				}
			}
		})
	}
	all.Wait()
	c.wantNothing("all are removed")
}
