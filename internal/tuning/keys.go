// SPDX-License-Identifier: Apache-2.0

package tuning

import (
	"net"
	"os"
	"path"
	"path/filepath"
	"strconv"
	"strings"

	"github.com/swiftcni/swiftcni/cni/spec"
	"github.com/swiftcni/swiftcni/internal/facts"
	"github.com/swiftcni/swiftcni/internal/fault"
	"github.com/swiftcni/swiftcni/internal/jsontext"
	"github.com/swiftcni/swiftcni/internal/netconf"
	"github.com/swiftcni/swiftcni/internal/pattern"
	"github.com/swiftcni/swiftcni/internal/verbs"
	"github.com/swiftcni/swiftcni/rtnl"
	"golang.org/x/sys/unix"
)

const (
	// DefaultDir keeps the former attributes of links, for DEL.
	DefaultDir = "/run/cni/tuning"
	// allowlist is the administrator's list of sysctls that may be set, if it exists.
	allowlist = "/etc/cni/tuning/allowlist.conf"
	// maxTxQueue is the largest net_device.tx_queue_len that the kernel doesn't read as negative.
	maxTxQueue = 1<<31 - 1
	maxMTU     = 65535 // ETH_MAX_MTU (linux/if_ether.h)
)

// wishes are the requests in one place of the configuration: the top level, or args.cni.
type wishes struct {
	sysctls  []namedSysctl
	mac      string
	mtu      *int
	promisc  *bool
	allmulti *bool
	txQLen   *int
}

// A namedSysctl is a name as it's written, and the text to write.
type namedSysctl struct{ key, value string }

// Keys are the plugin's own. err is the first wrong one. The keys that DEL uses are read all the
// same.
type Keys struct {
	conf       *netconf.Network
	top, args  wishes
	runtimeMAC string
	dataDir    string
	err        *spec.Error
}

// Read reads the plugin's keys.
func Read(n *netconf.Network) verbs.Plugin {
	r := n.Reader()
	k := &Keys{conf: n, dataDir: DefaultDir}
	err := r.Object(func(key string) error { return k.field(r, key) })
	k.err = fault.First(r, err)
	return k
}

// Wrong finds the first wrong key. GC and STATUS have no link, whose name may be part of a
// sysctl's.
func (k *Keys) Wrong(a spec.Attachment) *spec.Error {
	if a.IfName == "" {
		a.IfName = "eth0"
	}
	if _, err := k.tuning(a); err != nil {
		return fault.Of(err)
	}
	return nil
}

// Tell adds the directory of the former attributes of links.
func (k *Keys) Tell(f *facts.Plugin) { f.SavedDir = k.dataDir }

func (k *Keys) field(r *jsontext.Reader, key string) error {
	switch key {
	case "datadir":
		return r.Text("an absolute path", func(s string) bool {
			if !filepath.IsAbs(s) || strings.ContainsRune(s, 0) {
				return false
			}
			k.dataDir = s
			return true
		})
	case "args":
		return r.Object(func(key string) error {
			if key != "cni" {
				return nil
			}
			return r.Object(func(key string) error { return k.args.field(r, key) })
		})
	case "runtimeconfig":
		return r.Object(func(key string) error {
			if key != "mac" {
				return nil
			}
			return r.Str(&k.runtimeMAC)
		})
	}
	return k.top.field(r, key)
}

// field reads a key that both places have.
func (t *wishes) field(r *jsontext.Reader, key string) error {
	switch key {
	case "sysctl":
		return t.parseSysctls(r)
	case "mac":
		return r.Str(&t.mac)
	case "mtu":
		return r.Optional(&t.mtu, maxMTU)
	case "promisc":
		return r.Flag(&t.promisc)
	case "allmulti":
		return r.Flag(&t.allmulti)
	case "txqlen":
		return r.Optional(&t.txQLen, maxTxQueue)
	}
	return nil
}

// parseSysctls reads names and values. Names keep their case, as the path has it. A name that
// occurs twice is an error.
func (t *wishes) parseSysctls(r *jsontext.Reader) error {
	t.sysctls = nil
	seen := map[string]bool{}
	return r.Object(func(string) error {
		s := namedSysctl{key: r.Key}
		if seen[s.key] {
			r.Wrong("duplicated sysctl keys are not allowed", "")
		}
		seen[s.key] = true
		err := r.Str(&s.value)
		t.sysctls = append(t.sysctls, s)
		return err
	})
}

// A tuning is the requested state of a container's link and namespace.
type tuning struct {
	sysctls  []namedSysctl
	settings []rtnl.Sysctl // one for each sysctl
	link     rtnl.Link     // by its name; unset fields stay
	mac      string        // as it was requested
}

// changesLink reports whether any change of the link is requested.
func (t *tuning) changesLink() bool {
	l := &t.link
	return l.MAC != nil || l.MTU != 0 || l.Promisc != rtnl.Unset || l.AllMulticast != rtnl.Unset || l.TxQueueLen != 0
}

// tuning joins the requests for an attachment from all places. args.cni replaces values of the top
// level, and its sysctls join the others.
func (k *Keys) tuning(a spec.Attachment) (*tuning, error) {
	if k.err != nil {
		return nil, k.err
	}
	t := &tuning{link: rtnl.Link{Name: a.IfName}}
	if err := t.addSysctls(k, a.IfName); err != nil {
		return nil, err
	}
	if err := t.chooseMAC(k, a); err != nil {
		return nil, err
	}
	for _, from := range []wishes{k.top, k.args} {
		if from.mtu != nil {
			t.link.MTU = *from.mtu
		}
		if from.promisc != nil {
			t.link.Promisc = rtnl.Unset // false leaves it alone, as in the reference
			if *from.promisc {
				t.link.Promisc = rtnl.On
			}
		}
		if from.allmulti != nil {
			t.link.AllMulticast = rtnl.OnOff(*from.allmulti)
		}
		if from.txQLen != nil {
			t.link.TxQueueLen = *from.txQLen
			if *from.txQLen == 0 {
				t.link.TxQueueLen = rtnl.NoTxQueue
			}
		}
	}
	return t, nil
}

// chooseMAC takes the last place that names one.
func (t *tuning) chooseMAC(k *Keys, a spec.Attachment) error {
	for _, from := range []struct{ key, text string }{
		{"mac", k.top.mac}, {"CNI_ARGS MAC", k.conf.Asked(a)}, {"runtimeConfig.mac", k.runtimeMAC}, {"args.cni.mac", k.args.mac},
	} {
		if from.text == "" {
			continue
		}
		mac, err := net.ParseMAC(from.text)
		if err == nil && len(mac) != 6 {
			err = unix.EINVAL
		}
		if err != nil {
			return fault.Expected(from.key, "invalid args "+from.text+" for MAC addr: "+err.Error(), "six octets")
		}
		t.mac, t.link.MAC = from.text, mac
	}
	return nil
}

func (t *tuning) addSysctls(k *Keys, ifName string) error {
	at := map[string]int{}
	for i, from := range []wishes{k.top, k.args} {
		for _, s := range from.sysctls {
			file, ok := sysctlFile(s.key, ifName)
			if !ok {
				key := []string{"sysctl.", "args.cni.sysctl."}[i] + s.key
				return fault.Expected(key, "invalid net sysctl key: "+strconv.Quote(strings.ReplaceAll(s.key, ".", "/")), "a name below net.")
			}
			if j, twice := at[file]; twice {
				t.sysctls[j], t.settings[j].Value = s, s.value
				continue
			}
			at[file] = len(t.sysctls)
			t.sysctls = append(t.sysctls, s)
			t.settings = append(t.settings, rtnl.Sysctl{Path: file, Value: s.value})
		}
	}
	return t.checkAllowed(allowlist)
}

// sysctlFile returns a sysctl's file. Dots and slashes both separate, so no name leads upwards. The
// interface's name comes last, since it may have dots. Only below net does a namespace have
// settings of its own.
func sysctlFile(key, ifName string) (string, bool) {
	name := path.Clean("/" + strings.ReplaceAll(key, ".", "/"))
	if !strings.HasPrefix(name, "/net/") || strings.ContainsRune(key, 0) {
		return "", false
	}
	return "/proc/sys" + strings.Replace(name, "IFNAME", ifName, 1), true
}

// checkAllowed compares sysctls with the administrator's list: one expression a line. One of them
// must match.
func (t *tuning) checkAllowed(file string) error {
	if len(t.sysctls) == 0 {
		return nil
	}
	text, err := os.ReadFile(file)
	if fault.Absent(err) {
		return nil
	}
	if err != nil {
		return fault.Wrap("read the list of allowed sysctls", err)
	}
	var allowed []pattern.Pattern
	var lines []string
	number := 0
	for line := range strings.Lines(string(text)) {
		number++
		if line = strings.TrimSpace(line); line == "" {
			continue
		}
		p, err := pattern.Parse(line)
		if err != nil {
			return &spec.Error{Code: spec.CodeInternal, Msg: file + ": line " + strconv.Itoa(number) + ": " + strconv.Quote(line) +
				" isn't a regular expression of characters, ., classes, groups, |, ^, $ and repetitions", Key: "sysctl"}
		}
		allowed, lines = append(allowed, p), append(lines, line)
	}
	for _, s := range t.sysctls {
		ok := false
		for _, p := range allowed {
			ok = ok || p.Match(s.key)
		}
		if !ok {
			return fault.Expected("sysctl."+s.key, "Sysctl "+s.key+" is not allowed. Only the following sysctls are allowed: ["+strings.Join(lines, " ")+"]",
				"a line of "+file+" to match it")
		}
	}
	return nil
}
