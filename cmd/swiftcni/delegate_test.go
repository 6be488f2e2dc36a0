// SPDX-License-Identifier: Apache-2.0

package main

import (
	"encoding/json"
	"fmt"
	"net/netip"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

const (
	delegateConf = `{"cniVersion":"1.1.0","name":"net","type":"%s","bridge":"br0"%s,
		"ipam":{"type":"fake-ipam","log":"/run/log","look":"/run/seen","netns":"/run/netns/c1","answer":%s}}`
	answer4    = `{"ips":[{"address":"10.1.2.9/24"}],"routes":[{"dst":"0.0.0.0/0","gw":"10.1.2.1","priority":7}]}`
	answerDual = `{"cniVersion":"0.3.1","ips":[{"version":"4","address":"10.1.2.9/24","gateway":"10.1.2.1","interface":0},
		{"version":"6","address":"fd00::9/64","gateway":"10.1.2.1","interface":1}],
		"interfaces":[{"name":"eth0"},{"name":"eth0","sandbox":"x"}],"routes":[{"dst":"0.0.0.0/0"},{"dst":"10.9.0.0/16","gw":"0.0.0.0","scope":253},{"dst":"fd99::/64","gw":"::"}]}`
)

// delegateWorld is a world with a container, and with our plugins and the tests' IPAM plugin in
// CNI_PATH.
func delegateWorld(t *testing.T) (*world, func(verb, conf string, env ...string) answer) {
	w := newWorld(t, t.TempDir())
	fake := filepath.Join(w.dir, "fake")
	if err := linkFakeIPAM(fake); err != nil {
		t.Fatal(err)
	}
	if err := w.netns("c1"); err != nil {
		t.Fatal(err)
	}
	return w, func(verb, conf string, env ...string) answer {
		t.Helper()
		c := call{verb: verb, container: "c1", ifName: "eth0", conf: []byte(conf), env: map[string]string{"CNI_PATH": oursDir() + ":" + fake}}
		for _, kv := range env {
			name, value, _ := strings.Cut(kv, "=")
			c.env[name] = value
		}
		a, err := w.run(c)
		if err != nil {
			t.Fatal(err)
		}
		return a
	}
}

// seen reads and forgets what the IPAM plugin found.
func (w *world) seen() (list []sight) {
	w.t.Helper()
	for line := range strings.Lines(w.must("", "sh", "-c", "touch /run/seen; cat /run/seen; rm /run/seen")) {
		var s sight
		if err := json.Unmarshal([]byte(line), &s); err != nil {
			w.t.Fatalf("%v: %s", err, line)
		}
		list = append(list, s)
	}
	return list
}

// An IPAM plugin finds the link of its container ready to be used, whatever the configuration's
// keys: on ADD without addresses, on DEL with all of them but without rules.
func TestDelegateFindsItsWorld(t *testing.T) {
	for _, c := range []struct {
		name, keys, answer string
		args               string // CNI_ARGS
		mac                string
		is                 func(add sight) bool
	}{
		{name: "plain"},
		{name: "gateway and masquerade", keys: `,"isGateway":true,"ipMasq":true`},
		{name: "default gateway", keys: `,"isDefaultGateway":true`},
		{name: "mtu", keys: `,"mtu":1400`, is: func(s sight) bool { return s.Link.MTU == 1400 && s.Port.MTU == 1400 }},
		{name: "hairpin", keys: `,"hairpinMode":true`, is: func(s sight) bool { return s.Port.Info.Slave.Hairpin }},
		{name: "isolated", keys: `,"portIsolation":true`, is: func(s sight) bool { return s.Port.Info.Slave.Isolated }},
		{name: "promiscuous", keys: `,"promiscMode":true`},
		{name: "without link-local addresses", keys: `,"linkLocal":false`, is: func(s sight) bool { return len(s.Link.Addrs) == 0 }},
		{name: "spoof check", keys: `,"macspoofchk":true,"ipMasq":true`,
			is: func(s sight) bool { return strings.Contains(s.Rules, s.Link.MAC) }},
		{name: "duplicate address detection", keys: `,"enabledad":true`, is: func(s sight) bool { return s.DAD == "1" }},
		{name: "runtimeConfig.mac", keys: `,"runtimeConfig":{"mac":"02:00:00:00:00:07"},"args":{"cni":{"mac":"02:00:00:00:00:08"}}`,
			mac: "02:00:00:00:00:07"},
		{name: "args.cni.mac", keys: `,"args":{"cni":{"mac":"02:00:00:00:00:08"}}`, args: "MAC=02:00:00:00:00:09", mac: "02:00:00:00:00:08"},
		{name: "CNI_ARGS", args: "IgnoreUnknown=1;MAC=02:00:00:00:00:09", mac: "02:00:00:00:00:09"},
		{name: "two families", keys: `,"isGateway":true,"ipMasq":true`, answer: answerDual},
		{name: "two families without link-local addresses", keys: `,"linkLocal":false`, answer: answerDual},
		{name: "two families with detection", keys: `,"enabledad":true`, answer: answerDual},
		{name: "all", keys: `,"isGateway":true,"ipMasq":true,"macspoofchk":true,"hairpinMode":true,"mtu":1400`, answer: answerDual},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			w, call := delegateWorld(t)
			if c.answer == "" {
				c.answer = answer4
			}
			conf := fmt.Sprintf(delegateConf, "bridge", c.keys, c.answer)
			a := call("ADD", conf, "CNI_ARGS="+c.args)
			if a.status != 0 {
				t.Fatalf("ADD: %s", a.stdout)
			}
			var res struct {
				Interfaces []struct{ MAC string }
				IPs        []struct{ Address netip.Prefix }
			}
			if err := json.Unmarshal(a.stdout, &res); err != nil {
				t.Fatal(err)
			}
			if a := call("CHECK", conf); a.status != 0 {
				t.Errorf("CHECK: %s", a.stdout)
			}
			for _, env := range []string{"", "CNI_NETNS="} {
				if env != "" {
					if a := call("ADD", conf, "CNI_ARGS="+c.args); a.status != 0 {
						t.Fatalf("ADD again: %s", a.stdout)
					}
				}
				if a := call("DEL", conf, env); a.status != 0 {
					t.Errorf("DEL: %s", a.stdout)
				}
				seen := w.seen()
				add, del := seen[0], seen[len(seen)-1]
				if !ready(add) || !ready(del) || add.Link.MAC != res.Interfaces[2].MAC || c.mac != "" && add.Link.MAC != c.mac {
					t.Errorf("on ADD it found %+v, on DEL %+v, and the result is %s", add, del, a.stdout)
				}
				if len(add.Addrs) != 0 || add.Routes != 0 || len(add.Bridge) != 0 && env == "" || strings.Contains(add.Rules, "10.1.2.9") ||
					c.is != nil && !c.is(add) {
					t.Errorf("on ADD it found %+v", add)
				}
				linkLocal := len(del.Link.Addrs) > len(del.Addrs)
				if len(del.Addrs) != len(res.IPs) || del.Routes < 2 || del.Rules != "" || c.answer == answerDual && !linkLocal {
					t.Errorf("on DEL it found %+v", del)
				}
			}
			if err := w.noTrace(); err != nil {
				t.Error(err)
			}
		})
	}
}

// ready reports whether the container can send, and whether what it sends is forwarded.
func ready(s sight) bool {
	return s.Link.carries() && s.Port.carries() && s.Port.Master == "br0" && s.Port.Info.Slave.State == "forwarding"
}

// verbs are those of the calls that the IPAM plugin saw.
func verbs(seen []sight) (list []string) {
	for _, s := range seen {
		list = append(list, s.Verb)
	}
	return list
}

// An ADD that fails is taken back while the link is there, last step first, and a container that's
// attached keeps its address.
func TestDelegateIsUndone(t *testing.T) {
	for _, kind := range []string{"bridge", "ptp"} {
		answer := `{"ips":[{"address":"10.1.2.9/24","gateway":"10.1.2.1"}]}`
		conf := func(keys, answer string) string { return fmt.Sprintf(delegateConf, kind, keys, answer) }
		for _, c := range []struct {
			name, conf, before, error string
			attached                  bool
			verbs                     []string
			addrs                     int // when it's undone
		}{
			{name: "the link can't be made", conf: conf(`,"mtu":20`, answer), error: "mtu"},
			{name: "it's attached already", conf: conf(``, answer), attached: true, error: "is still there"},
			{name: "the plugin isn't there", conf: strings.Replace(conf(``, answer), "fake-ipam", "no-ipam", 1), error: "failed to find plugin"},
			{name: "the answer has no address", conf: conf(``, `{}`), error: "missing IP config", verbs: []string{"ADD", "DEL"}},
			{name: "the answer isn't JSON", conf: strings.Replace(conf(``, `{}`), `"log"`, `"failAt":["ADD"],"fail":"babble","log"`, 1),
				error: "failed to unmarshal raw result", verbs: []string{"ADD", "DEL"}},
			{name: "the plugin fails", conf: strings.Replace(conf(``, `{}`), `"log"`, `"failAt":["ADD"],"fail":"object","log"`, 1),
				error: "no address today", verbs: []string{"ADD", "DEL"}},
			{name: "a route can't be made", error: "unreachable", verbs: []string{"ADD", "DEL"}, addrs: 1,
				conf: conf(`,"ipMasq":true`, `{"ips":[{"address":"10.1.2.9/24","gateway":"10.1.2.1"}],"routes":[{"dst":"10.3.0.0/16","gw":"10.4.0.1"}]}`)},
		} {
			t.Run(kind+"/"+c.name, func(t *testing.T) {
				t.Parallel()
				w, call := delegateWorld(t)
				if c.attached {
					call("ADD", c.conf)
					w.seen()
				}
				a := call("ADD", c.conf)
				f, err := a.failure()
				if err != nil || a.status == 0 || !strings.Contains(f.Msg+f.Details, c.error) {
					t.Errorf("%d, %v: %s, want %q", a.status, err, a.stdout, c.error)
				}
				seen := w.seen()
				if !slices.Equal(verbs(seen), c.verbs) {
					t.Errorf("calls %q, want %q", verbs(seen), c.verbs)
				}
				if c.verbs != nil && (!seen[1].Link.carries() || len(seen[1].Addrs) != c.addrs || seen[1].Rules != "") {
					t.Errorf("to undo it found %+v", seen[1])
				}
				if c.attached {
					if a := call("CHECK", c.conf); a.status != 0 {
						t.Errorf("CHECK of what was attached: %s", a.stdout)
					}
					call("DEL", c.conf)
				}
				if err := w.noTrace(); err != nil {
					t.Error(err)
				}
			})
		}
	}
}

// A name that's a stranger's gives way to the next one before the IPAM plugin is asked.
func TestDelegateIsAskedOnce(t *testing.T) {
	for _, kind := range []string{"bridge", "ptp"} {
		t.Run(kind, func(t *testing.T) {
			w, call := delegateWorld(t)
			conf := fmt.Sprintf(delegateConf, kind, "", `{"ips":[{"address":"10.1.2.9/24","gateway":"10.1.2.1"}]}`)
			call("ADD", conf)
			name := hostEnd.FindString(w.seen()[0].Port.Name)
			call("DEL", conf)
			w.seen()
			w.must("", "ip", "link", "add", name, "type", "bridge")
			if a := call("ADD", conf); a.status != 0 || name == "" {
				t.Errorf("ADD: %s", a.stdout)
			}
			if got := verbs(w.seen()); !slices.Equal(got, []string{"ADD"}) {
				t.Errorf("calls %q", got)
			}
			if a := call("DEL", conf); a.status != 0 {
				t.Errorf("DEL: %s", a.stdout)
			}
			w.must("", "ip", "link", "delete", name)
			if err := w.noTrace(); err != nil {
				t.Error(err)
			}
		})
	}
}

// However the IPAM plugin answers DEL, no link is left with an address that may be released; the
// next DEL tells it again.
func TestDelegateFailsToRelease(t *testing.T) {
	for _, kind := range []string{"bridge", "ptp"} {
		t.Run(kind, func(t *testing.T) {
			w, call := delegateWorld(t)
			conf := fmt.Sprintf(delegateConf, kind, `,"ipMasq":true`, `{"ips":[{"address":"10.1.2.9/24","gateway":"10.1.2.1"}]}`)
			call("ADD", conf)
			w.seen()
			a := call("DEL", strings.Replace(conf, `"log"`, `"failAt":["DEL"],"fail":"object","log"`, 1))
			if f, err := a.failure(); err != nil || f.Code != 123 {
				t.Errorf("%v: %s", err, a.stdout)
			}
			if err := w.noTrace(); err != nil {
				t.Error(err)
			}
			for range 2 {
				if a := call("DEL", conf); a.status != 0 {
					t.Errorf("DEL: %s", a.stdout)
				}
			}
			if got := verbs(w.seen()); !slices.Equal(got, []string{"DEL", "DEL", "DEL"}) {
				t.Errorf("calls %q", got)
			}
		})
	}
}
