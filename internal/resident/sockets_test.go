// SPDX-License-Identifier: Apache-2.0

package resident

import (
	"fmt"
	"io"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/swiftcni/swiftcni/internal/handover"
	"github.com/swiftcni/swiftcni/internal/test/nstest"
	"golang.org/x/sys/unix"
)

func TestMain(m *testing.M) { nstest.Main(m) }

// callStreams are the standard streams of a call.
type callStreams struct{ in, out *os.File }

func newStreams(t *testing.T) callStreams {
	t.Helper()
	var list [2]*os.File
	for i := range list {
		f, err := os.CreateTemp(t.TempDir(), "")
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { f.Close() })
		list[i] = f
	}
	return callStreams{list[0], list[1]}
}

// plugin makes a call through a resident, with an input and an environment, and returns the answer's
// byte and what was printed.
func (s callStreams) plugin(t *testing.T, path, input string, env ...string) (status byte, said string) {
	t.Helper()
	for _, f := range []*os.File{s.in, s.out} {
		if err := f.Truncate(0); err != nil {
			t.Fatal(err)
		}
		if _, err := f.Seek(0, io.SeekStart); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := s.in.WriteAt([]byte(input), 0); err != nil {
		t.Fatal(err)
	}
	conn := dial(t, path)
	defer conn.Close()
	text := strings.Join(append([]string{"/opt/cni/bin/bridge"}, env...), "\x00") + "\x00"
	out := int(s.out.Fd())
	if _, _, err := conn.WriteMsgUnix(packet(handover.Version, 1, text), unix.UnixRights(int(s.in.Fd()), out, out), nil); err != nil {
		t.Fatal(err)
	}
	var b [1]byte
	if _, err := io.ReadFull(conn, b[:]); err != nil {
		t.Fatal(err)
	}
	printed, err := os.ReadFile(s.out.Name())
	if err != nil {
		t.Fatal(err)
	}
	return b[0], string(printed)
}

// A resident's descriptors are as many after a thousand attachments as after a few, and no more
// after calls that failed.
func TestSocketsAreFew(t *testing.T) {
	path, calls := serving(t)
	netns := nstest.New(t, "c1")
	conf := fmt.Sprintf(`{ "cniVersion": "1.0.0", "name": "few", "type": "bridge", "bridge": "few0", "isGateway": true, "ipMasq": true,
		"ipam": { "type": "host-local", "subnet": "10.80.0.0/16", "dataDir": %q } }`, t.TempDir())
	env := []string{"CNI_CONTAINERID=c1", "CNI_IFNAME=eth0", "CNI_NETNS=" + netns, "CNI_PATH=/opt/cni/bin"}
	with := newStreams(t)
	before := descriptorsOpen(t)
	rounds := 1000
	if testing.Short() {
		rounds = 50
	}
	for range rounds {
		for _, verb := range []string{"ADD", "DEL"} {
			if status, said := with.plugin(t, path, conf, append(env, "CNI_COMMAND="+verb)...); status != 0 {
				t.Fatal(verb, said)
			}
		}
		if status, _ := with.plugin(t, path, "{", append(env, "CNI_COMMAND=ADD")...); status != 1 {
			t.Fatal("half a configuration is fine")
		}
	}
	if n := int(calls.Load()); n != 3*rounds {
		t.Errorf("%d calls were made, want %d", n, 3*rounds)
	}
	// Its namespace, a socket of nftables, and one of rtnetlink for each removal that the kernel is at.
	bound := before + 2 + 32
	for deadline := time.Now().Add(time.Minute); descriptorsOpen(t) > bound; time.Sleep(10 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("%d descriptors after %d calls, %d before", descriptorsOpen(t), 3*rounds, before)
		}
	}
}
