// SPDX-License-Identifier: Apache-2.0

package cni

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"sync"
	"testing"
	"time"

	"github.com/swiftcni/swiftcni/internal/test/nstest"
	"github.com/swiftcni/swiftcni/ipam"
	"github.com/swiftcni/swiftcni/rtnl"
)

// descriptors waits until no more descriptors are open than a bound, and returns their number. The
// kernel frees links and elements for a while, and sockets are held meanwhile.
func descriptors(t testing.TB, bound int) (n int) {
	t.Helper()
	for deadline := time.Now().Add(time.Minute); time.Now().Before(deadline); time.Sleep(10 * time.Millisecond) {
		if n = count(t, "/proc/self/fd"); n <= bound {
			break
		}
	}
	return n
}

// A Client's descriptors don't grow with its calls, be they good or bad, and go with Close.
func TestClientKeepsFewDescriptors(t *testing.T) {
	n, a := network(t, masqueraded), attachment(t, "c1")
	another := a
	another.ContainerID = "c2"
	before := count(t, "/proc/self/fd")
	var c Client
	rounds := 1000
	if testing.Short() {
		rounds = 100
	}
	attachAndDetach := func(rounds int) {
		t.Helper()
		for range rounds {
			if _, err := c.Attach(t.Context(), n, a); err != nil {
				t.Fatal(err)
			}
			if err := c.Detach(t.Context(), n, a); err != nil {
				t.Fatal(err)
			}
		}
	}
	attachAndDetach(1)
	// Its namespace, a socket of rtnetlink, and one of nftables.
	if got := descriptors(t, before+3); got > before+3 {
		t.Errorf("%d descriptors after a call, before %d", got, before)
	}
	attachAndDetach(rounds)
	// The kernel holds the socket of a removal for a while, so there are a few.
	kept := descriptors(t, before+34)
	if kept > before+34 {
		t.Errorf("%d descriptors after %d calls, before %d", kept, rounds, before)
	}
	if _, err := c.Attach(t.Context(), n, a); err != nil {
		t.Fatal(err)
	}
	for range rounds / 10 { // the container's eth0 is there already
		if _, err := c.Attach(t.Context(), n, another); err == nil {
			t.Fatal("two links have one name")
		}
	}
	if err := c.Detach(t.Context(), n, a); err != nil {
		t.Fatal(err)
	}
	if got := descriptors(t, kept); got > kept {
		t.Errorf("%d descriptors after errors, before %d", got, kept)
	}
	for range 2 {
		if err := c.Close(); err != nil {
			t.Fatal(err)
		}
	}
	if got := descriptors(t, before); got > before {
		t.Errorf("%d descriptors after Close, before %d", got, before)
	}
	attachAndDetach(1)
	if got := descriptors(t, before); got > before {
		t.Errorf("%d descriptors of a call after Close, before %d", got, before)
	}
	if l := left(t, n, a); l != nil {
		t.Error("left behind:", l)
	}
}

// All verbs, and the protocol without a process, work with sockets that others have used.
func TestClientMakesEachCall(t *testing.T) {
	n, a := network(t, masqueraded), attachment(t, "c1")
	var c Client
	defer c.Close()
	for range 3 {
		outcomes := c.AttachAll(t.Context(), n, []Attachment{a})
		if outcomes[0].Err != nil {
			t.Fatal(outcomes[0].Err)
		}
		for verb, err := range map[string]error{
			"check":   c.Check(t.Context(), n, a, outcomes[0].Result),
			"status":  c.Status(t.Context(), n),
			"reclaim": c.Reclaim(t.Context(), n),
			"valid":   c.GC(t.Context(), n, []Attachment{a}),
		} {
			if err != nil {
				t.Error(verb, err)
			}
		}
		if left(t, n, a) == nil {
			t.Error("the attachment is gone")
		}
		if err := c.GC(t.Context(), n, []Attachment{}); err != nil {
			t.Error(err)
		}
		if l := left(t, n, a); l != nil {
			t.Error("left behind:", l)
		}
	}
}

// A Client's sockets are never used for a call from another namespace, and the call is right.
func TestClientStaysInItsNamespace(t *testing.T) {
	n, home, away := network(t, masqueraded), attachment(t, "c1"), attachment(t, "c2")
	elsewhere := nstest.New(t, "elsewhere")
	var c Client
	defer c.Close()
	if _, err := c.Attach(t.Context(), n, home); err != nil {
		t.Fatal(err)
	}
	bridge := n.conf.Bridge.Name
	ports := func() (list []string) {
		conn, err := rtnl.Dial(nil)
		if err != nil {
			t.Error(err)
			return nil
		}
		defer conn.Close()
		for l, err := range conn.Links(rtnl.LinkFilter{Kind: "veth"}) {
			if err != nil {
				t.Error(err)
			}
			list = append(list, l.Name)
		}
		if _, err := conn.Index(bridge); err != nil {
			t.Error(err)
		}
		return list
	}
	var inside []string
	nstest.In(t, elsewhere, func() {
		if _, err := c.Attach(t.Context(), n, away); err != nil {
			t.Error(err)
		}
		inside = ports()
		if err := c.Detach(t.Context(), n, away); err != nil {
			t.Error(err)
		}
	})
	if outside := ports(); len(outside) != 1 || len(inside) != 1 || outside[0] == inside[0] {
		t.Errorf("links %v in the Client's namespace, and %v elsewhere", outside, inside)
	}
	if err := c.Detach(t.Context(), n, home); err != nil {
		t.Error(err)
	}
}

// Many goroutines share a Client. What fails or is cancelled doesn't disturb the others.
func TestClientConcurrently(t *testing.T) {
	n := network(t, masqueraded)
	const containers, rounds = 8, 5
	before := count(t, "/proc/self/fd")
	var c Client
	var atts []Attachment
	for i := range containers {
		atts = append(atts, attachment(t, fmt.Sprintf("c%d", i)))
	}
	var wg sync.WaitGroup
	for _, a := range atts {
		wg.Go(func() {
			for range rounds {
				res, err := c.Attach(t.Context(), n, a)
				if err != nil {
					t.Error(err)
					return
				}
				var duplicate *ipam.DuplicateError
				if _, err := c.Attach(t.Context(), n, a); !errors.As(err, &duplicate) {
					t.Errorf("attached twice: %v", err)
				}
				cancelled, cancel := context.WithCancel(t.Context())
				cancel()
				_ = c.Check(cancelled, n, a, res)
				if err := c.Check(t.Context(), n, a, res); err != nil {
					t.Error(err)
				}
				if err := c.Detach(t.Context(), n, a); err != nil {
					t.Error(err)
				}
			}
		})
	}
	wg.Wait()
	if err := c.Close(); err != nil {
		t.Error(err)
	}
	if got := descriptors(t, before); got > before {
		t.Errorf("%d descriptors, before %d", got, before)
	}
	for _, a := range atts {
		if l := left(t, n, a); l != nil {
			t.Errorf("%s left behind: %v", a.ContainerID, l)
		}
	}
}

// To keep sockets costs no more memory than to open new ones.
func TestClientAllocatesNoMore(t *testing.T) {
	n, a := network(t, masqueraded), attachment(t, "c1")
	var c Client
	defer c.Close()
	measure := func(attach func(context.Context, *Network, Attachment) (*Result, error), detach func(context.Context, *Network, Attachment) error) (count, bytes uint64) {
		t.Helper()
		const rounds = 20
		var before, after runtime.MemStats
		for round := range rounds + 5 {
			if round == 5 {
				runtime.ReadMemStats(&before)
			}
			if _, err := attach(t.Context(), n, a); err != nil {
				t.Fatal(err)
			}
			if err := detach(t.Context(), n, a); err != nil {
				t.Fatal(err)
			}
			c.sockets.Settle()
		}
		runtime.ReadMemStats(&after)
		return (after.Mallocs - before.Mallocs) / rounds, (after.TotalAlloc - before.TotalAlloc) / rounds
	}
	plain, plainBytes := measure(Attach, Detach)
	kept, keptBytes := measure(c.Attach, c.Detach)
	t.Logf("%d allocations of %d bytes by the functions, %d of %d by a Client", plain, plainBytes, kept, keptBytes)
	if kept > plain || keptBytes > plainBytes/2 {
		t.Errorf("%d allocations of %d bytes, and by the functions %d of %d", kept, keptBytes, plain, plainBytes)
	}
}
