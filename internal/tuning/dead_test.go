// SPDX-License-Identifier: Apache-2.0

package tuning

import (
	"os"
	"path/filepath"
	"strconv"
	"testing"

	"github.com/swiftcni/swiftcni/internal/names"
	"github.com/swiftcni/swiftcni/internal/proof"
	"github.com/swiftcni/swiftcni/internal/test/nstest"
	"github.com/swiftcni/swiftcni/nft"
	"github.com/swiftcni/swiftcni/rtnl"
)

func TestMain(m *testing.M) { nstest.Main(m) }

// The file of an owner that came back while it was judged stays.
func TestForgettingSparesWhoComesBack(t *testing.T) {
	nstest.Kernel(t)
	conn, err := rtnl.Dial(nil)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	p, err := proof.New(conn)
	if err != nil {
		t.Fatal(err)
	}
	o := nft.Owner{Network: "net", ContainerID: "c1", IfName: "eth0"}
	file := filepath.Join(t.TempDir(), "c1_eth0.json")
	for _, back := range []bool{true, false} {
		if err := os.WriteFile(file, nil, 0o600); err != nil {
			t.Fatal(err)
		}
		dead := p.DeadOwner(o)
		nm := names.Of(o.Network, o.ContainerID, o.IfName, 0)
		if back {
			nstest.Run(t, "", "ip", "link", "add", nm.Link, "index", strconv.Itoa(nm.Index), "type", "veth", "peer", "name", "peer")
		} else {
			nstest.Run(t, "", "ip", "link", "delete", nm.Link)
		}
		var list []nft.Owner
		if err := forgetDead(file, o, p, false, &list); err != nil {
			t.Fatal(err)
		}
		if _, err := os.Stat(file); dead != back || (err == nil) != back || (len(list) == 0) != back {
			t.Errorf("back %v: was dead %v, told %v, %v", back, dead, list, err)
		}
	}
}
