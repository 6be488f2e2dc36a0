// SPDX-License-Identifier: Apache-2.0

package nft

import (
	"errors"
	"io/fs"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/swiftcni/swiftcni/internal/test/nstest"
)

// These are a kernel's answers if it lacks a family or a kind of chain, from one that lacks these.
func TestUnsupportedSaysWhatIsMissing(t *testing.T) {
	c := dial(t, nstest.New(t, "host"))
	for _, x := range []struct {
		chain chain
		want  string
	}{
		{chain{table: table{99, "swiftcni"}, name: "x", hook: hook{kind: "nat"}}, "create table family 99 swiftcni"},
		{chain{table: masqueradeTable, name: "postrouting", hook: hook{kind: "nosuch", number: unix.NF_INET_POST_ROUTING}}, "create chain inet swiftcni postrouting"},
	} {
		var b batch
		b.library.AddTable(x.chain.table.object())
		b.chain(x.chain)
		err := lacking(c.commit(&b, nil))
		var unsupported *UnsupportedError
		if !errors.As(err, &unsupported) || !errors.Is(err, errors.ErrUnsupported) || !strings.Contains(unsupported.Missing, x.want) {
			t.Errorf("got %v, want an UnsupportedError of %q", err, x.want)
		}
	}
}

func TestErrorNamesChangeAndStep(t *testing.T) {
	c := dial(t, nstest.New(t, "host"))
	a := attachment("c1", "10.1.0.2/24")
	must(t, c.Attach(a))
	var b batch
	missing := a.elements()
	missing[0].key = []byte{1, 2, 3, 4}
	b.delete(missing)
	b.delete(missing)
	err := c.commit(&b, nil)
	var refused *Error
	if !errors.As(err, &refused) || refused.Step != 0 || refused.Change != "delete element inet swiftcni masq4" || !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("got %#v, want the first refusal", err)
	}
	// Both were refused: the second refusal was drained too.
	must(t, c.CheckSender(a))
}

// Without the capability the kernel refuses the transaction as a whole, and answers once.
func TestPermissionIsAnError(t *testing.T) {
	ns := nstest.New(t, "host")
	var c *Conn
	var err error
	nstest.In(t, ns, func() {
		// The thread ends with this function, and its capabilities with it.
		header := unix.CapUserHeader{Version: unix.LINUX_CAPABILITY_VERSION_3}
		var data [2]unix.CapUserData
		if err = unix.Capset(&header, &data[0]); err != nil {
			return
		}
		if c, err = Dial(); err == nil {
			defer c.Close()
			err = c.Attach(attachment("c1", "10.1.0.2/24"))
		}
	})
	if !errors.Is(err, fs.ErrPermission) {
		t.Errorf("got %v, want permission", err)
	}
}
