// SPDX-License-Identifier: Apache-2.0

package cni

import (
	"fmt"
	"net"
	"strings"
	"testing"

	"github.com/swiftcni/swiftcni/internal/fault"
	"github.com/swiftcni/swiftcni/internal/test/nstest"
)

// A MAC in CNI_ARGS is quoted as it's written, by a plugin of its own and by one in a chain.
func TestArgsMACKeepsItsSpelling(t *testing.T) {
	w := newTuned(t)
	chained := Attachment{ContainerID: "c2", IfName: "eth0", NetNS: nstest.New(t, "c2")}
	bridge := fmt.Sprintf(`{"cniVersion":"1.1.0","name":"net","type":"bridge","bridge":"mac0","chain":[{"type":"tuning","dataDir":%q}]}`, w.dir)
	for _, x := range []struct {
		plugin, conf string
		a            Attachment
	}{
		{"tuning", string(w.conf(t, "").conf.Text), w.Attachment},
		{"bridge", bridge, chained},
	} {
		call := func(verb, mac string) (string, error) {
			env := map[string]string{"CNI_COMMAND": verb, "CNI_CONTAINERID": x.a.ContainerID, "CNI_IFNAME": "eth0", "CNI_NETNS": x.a.NetNS,
				"CNI_PATH": "/nowhere", "CNI_ARGS": "MAC=" + mac}
			out, err := Call(t.Context(), x.plugin, func(name string) string { return env[name] }, strings.NewReader(x.conf))
			return string(out), err
		}
		out, err := call("ADD", "02-00-00-00-00-BB")
		if err != nil || !strings.Contains(out, `"mac": "02-00-00-00-00-BB"`) {
			t.Errorf("%s: %s, %v", x.plugin, out, err)
		}
		if got := nstest.Run(t, x.a.NetNS, "ip", "-br", "link", "show", "eth0"); !strings.Contains(got, "02:00:00:00:00:bb") {
			t.Errorf("%s: the link has %s", x.plugin, got)
		}
		for _, verb := range []string{"DEL", "GC", "STATUS"} { // none of them needs it
			if _, err := call(verb, "02:00:00:00:00:XY"); err != nil {
				t.Error(x.plugin, verb, err)
			}
		}
		if _, err := call("ADD", "02:00:00:00:00:XY"); err == nil || !strings.Contains(err.Error(), "address 02:00:00:00:00:XY: invalid MAC address") ||
			!strings.Contains(err.Error(), "CNI_ARGS MAC") {
			t.Errorf("%s: %v", x.plugin, err)
		}
	}
}

// An embedder's MAC is of an Ethernet link, whichever plugin takes it.
func TestAttachmentsMACHasSixBytes(t *testing.T) {
	w := newTuned(t)
	w.MAC = net.HardwareAddr{2, 0, 0, 0, 0, 0, 0, 1}
	_, err := tuningRoom.add(t.Context(), w.conf(t, ""), w.Attachment)
	if err == nil || fault.Of(err).Key != "CNI_ARGS MAC" {
		t.Error(err)
	}
	_, err = Attach(t.Context(), network(t, masqueraded), w.Attachment)
	if err == nil || fault.Of(err).Key != "CNI_ARGS MAC" {
		t.Error(err)
	}
}
