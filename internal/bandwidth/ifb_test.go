// SPDX-License-Identifier: Apache-2.0

package bandwidth

import (
	"errors"
	"io/fs"
	"testing"

	"github.com/swiftcni/swiftcni/cni/spec"
	"github.com/swiftcni/swiftcni/internal/test/nstest"
	"github.com/swiftcni/swiftcni/internal/verbs"
	"github.com/swiftcni/swiftcni/rtnl"
)

func TestMain(m *testing.M) { nstest.Main(m) }

const network = "net"

var owner = spec.Attachment{ContainerID: "c1", IfName: "eth0"}

// ifbFor is an ifb of the owner's, as an ADD makes it at first.
func ifbFor(attempt int, name string) rtnl.Link {
	nm := ifbOf(network, owner, attempt)
	return rtnl.Link{Kind: "ifb", Index: nm.Index, Name: name, MAC: nm.MAC}
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func has(t *testing.T, conn *rtnl.Conn, l rtnl.Link) bool {
	t.Helper()
	_, err := conn.LinkByIndex(l.Index)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		t.Fatal(err)
	}
	return err == nil
}

// An ifb that is made between the look at the host and the removal stays, though the one before it
// had its index. GC then removes what it was to remove.
func TestRemovalSparesAnIfbMadeMeanwhile(t *testing.T) {
	nstest.In(t, nstest.New(t, "host"), func() {
		conn, err := rtnl.Dial(nil)
		must(t, err)
		defer conn.Close()
		dead, back, other := ifbFor(0, "dead"), ifbFor(0, "back"), ifbFor(1, "other")
		for _, l := range []rtnl.Link{dead, other} {
			must(t, conn.Do(creation(l)))
			var b rtnl.Batch
			b.Set(rtnl.Link{Index: l.Index, Alias: "to which nothing is redirected"})
			must(t, conn.Do(&b))
		}
		looks := 0
		keeps := func(*rtnl.Conn) (func(rtnl.Link) bool, error) {
			if looks++; looks == 1 {
				must(t, conn.Do(deletion(rtnl.Link{Index: dead.Index})))
				must(t, conn.Do(creation(back)))
			}
			return func(l rtnl.Link) bool { return l.Alias == "" }, nil
		}
		must(t, (&Keys{}).removeIfbs(network, keeps))
		if !has(t, conn, back) || has(t, conn, other) {
			t.Errorf("the new one is there: %v; the dead one: %v", has(t, conn, back), has(t, conn, other))
		}
		if looks < 3 {
			t.Errorf("looked %d times", looks)
		}
		must(t, (&Keys{}).Reclaim(t.Context(), &verbs.Call{Network: network}))
		if !has(t, conn, back) {
			t.Error("one that is about to be used was removed")
		}
	})
}

// A stale ifb that somebody else removes first is no reason to fail.
func TestStaleIfbRemovedMeanwhile(t *testing.T) {
	nstest.In(t, nstest.New(t, "host"), func() {
		nstest.Run(t, "", "ip", "link", "add", "host0", "type", "veth", "peer", "name", "eth0")
		conn, err := rtnl.Dial(nil)
		must(t, err)
		defer conn.Close()
		hostEnd, err := conn.Link("host0")
		must(t, err)
		s := &shaping{call: &verbs.Call{Network: network}, attachment: owner, host: conn, hostEnd: hostEnd}
		must(t, s.replaceIfb(ifbFor(0, "dead"), fs.ErrExist))
	})
}
