// SPDX-License-Identifier: Apache-2.0

package tuning

import (
	"errors"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"github.com/swiftcni/swiftcni/cni/spec"
	"github.com/swiftcni/swiftcni/internal/fault"
	"github.com/swiftcni/swiftcni/internal/flock"
	"github.com/swiftcni/swiftcni/internal/jsontext"
	"github.com/swiftcni/swiftcni/internal/verbs"
	"github.com/swiftcni/swiftcni/rtnl"
	"golang.org/x/sys/unix"
)

// The former attributes of a link are kept in the reference's file,
// DATADIR/CONTAINERID_IFNAME.json, and with its keys. The file also names its owner, so that GC
// finds it.

// A saved is the content of a file. Of the link it has only the attributes that tuning changes, by
// its name.
type saved struct {
	network, containerID string
	link                 rtnl.Link
	// The host's boot and its namespace prove the attachment's death, by [saved.dead].
	boot     string
	trueBoot bool // the boot's ID is the kernel's own
	netns    uint64
	hostEnd  int // index of the link that bridge or ptp made; 0 if they didn't
}

func (k *Keys) file(a spec.Attachment) string {
	return filepath.Join(k.dataDir, a.ContainerID+"_"+a.IfName+".json")
}

// with returns a link with another's attributes, as far as a third one has them.
func with(l, another, has rtnl.Link) rtnl.Link {
	if has.MAC != nil {
		l.MAC = another.MAC
	}
	if has.MTU != 0 {
		l.MTU = another.MTU
	}
	if has.Promisc != rtnl.Unset {
		l.Promisc = another.Promisc
	}
	if has.AllMulticast != rtnl.Unset {
		l.AllMulticast = another.AllMulticast
	}
	if has.TxQueueLen != 0 {
		l.TxQueueLen = another.TxQueueLen
	}
	return l
}

// before cuts a link, as it was, down to the attributes that a change changes.
func before(was, change rtnl.Link) rtnl.Link {
	return with(rtnl.Link{Name: change.Name}, was, change)
}

// first adds the attributes that weren't saved yet. The link as it was before the first change
// counts.
func first(old, now rtnl.Link) rtnl.Link { return with(now, old, old) }

// save keeps a link's attributes. created reports whether there was nothing before.
func (k *Keys) save(c *verbs.Call, a spec.Attachment, now rtnl.Link) (created bool, err error) {
	old, err := k.load(a)
	switch {
	case fault.Absent(err):
		created = true
	case err != nil:
		return false, fault.Wrap("read the saved attributes", err)
	}
	s, err := savedOf(c, a)
	if err != nil {
		return false, err
	}
	s.link = first(old.link, now)
	err = os.MkdirAll(k.dataDir, 0o700)
	if err == nil {
		err = k.replace(k.file(a), s.encode())
	}
	return created, fault.Wrap("save the link's attributes", err)
}

// replace makes a file that is whole or absent at any instant. GC, which locks the directory too,
// doesn't remove it in place of the one before.
func (k *Keys) replace(file string, text []byte) error {
	fd, err := flock.Open(k.dataDir)
	if err != nil {
		return err
	}
	if err = writeFile(file+".tmp", text); err == nil {
		err = os.Rename(file+".tmp", file)
	}
	if err != nil {
		_ = os.Remove(file + ".tmp")
	}
	unix.Close(fd)
	return err
}

func (s *saved) encode() []byte {
	l, w := s.link, jsontext.NewWriter(nil)
	w.Open('{')
	if l.MAC != nil {
		w.Key("mac").Str(l.MAC.String())
	}
	flag := func(key string, s rtnl.Switch) {
		if s != rtnl.Unset {
			w.Key(key).Raw(map[bool]string{true: "true", false: "false"}[s == rtnl.On])
		}
	}
	flag("promisc", l.Promisc)
	w.Number("mtu", l.MTU)
	flag("allmulti", l.AllMulticast)
	if l.TxQueueLen != 0 {
		w.Key("txQLen").Num(max(l.TxQueueLen, 0))
	}
	w.Key("network").Str(s.network)
	w.Key("containerID").Str(s.containerID)
	w.Key("boot").Str(s.boot)
	if s.trueBoot {
		w.Key("trueBoot").Raw("true")
	}
	w.Key("netns").Raw(strconv.FormatUint(s.netns, 10)) // more than an int of 32 bits holds
	w.Number("hostEnd", s.hostEnd)
	w.Close('}')
	return w.Bytes()
}

// writeFile writes a file that only root can read. It follows no link.
func writeFile(name string, text []byte) error {
	f, err := os.OpenFile(name, os.O_WRONLY|os.O_CREATE|os.O_TRUNC|unix.O_NOFOLLOW, 0o600)
	if err != nil {
		return err
	}
	_, err = f.Write(text)
	return errors.Join(err, f.Close())
}

// anothersError is a file of another container, whose ID and interface name give the same file
// name: a_b with eth0, a with b_eth0.
type anothersError struct{ file, containerID string }

func (e *anothersError) Error() string { return e.file + " is container " + e.containerID + "'s" }

// load reads the saved data of an attachment. A file that isn't JSON holds nothing.
func (k *Keys) load(a spec.Attachment) (saved, error) {
	text, err := os.ReadFile(k.file(a))
	if err != nil {
		return saved{}, err
	}
	s := decodeSaved(text)
	if s.containerID != "" && s.containerID != a.ContainerID {
		return saved{}, &anothersError{k.file(a), s.containerID}
	}
	s.link.Name = a.IfName
	return s, nil
}

func decodeSaved(text []byte) (s saved) {
	r := jsontext.NewReader(text, "")
	_ = r.Object(func(key string) (err error) {
		switch key {
		case "mac":
			var mac string
			err = r.Str(&mac)
			s.link.MAC, _ = net.ParseMAC(mac)
		case "mtu":
			err = r.Integer(&s.link.MTU)
		case "promisc":
			err = readSwitch(r, &s.link.Promisc)
		case "allmulti":
			err = readSwitch(r, &s.link.AllMulticast)
		case "txqlen":
			var n *int
			if err = r.Optional(&n, maxTxQueue); n != nil {
				if s.link.TxQueueLen = *n; *n == 0 {
					s.link.TxQueueLen = rtnl.NoTxQueue
				}
			}
		case "network":
			err = r.Str(&s.network)
		case "containerid":
			err = r.Str(&s.containerID)
		case "boot":
			err = r.Str(&s.boot)
		case "trueboot":
			var on *bool
			err = r.Flag(&on)
			s.trueBoot = on != nil && *on
		case "netns":
			var ino int64
			ino, _, err = r.Long()
			s.netns = uint64(ino)
		case "hostend":
			err = r.Integer(&s.hostEnd)
		}
		return err
	})
	return s
}

func readSwitch(r *jsontext.Reader, to *rtnl.Switch) error {
	var on *bool
	err := r.Flag(&on)
	if on != nil {
		*to = rtnl.OnOff(*on)
	}
	return err
}

// forget removes the saved data of an attachment.
func (k *Keys) forget(a spec.Attachment) error {
	_ = os.Remove(k.file(a) + ".tmp")
	err := os.Remove(k.file(a))
	if fault.Absent(err) || errors.Is(err, unix.ENOTDIR) || errors.Is(err, unix.ENAMETOOLONG) {
		return nil
	}
	return fault.Wrap("remove the saved attributes", err)
}

// forgetExcept removes the saved data of a network's attachments that aren't valid. Files of the
// reference don't name their network, and stay.
func (k *Keys) forgetExcept(c *verbs.Call, valid []spec.Attachment) error {
	keep := map[string]bool{}
	for _, a := range valid {
		keep[k.file(a)] = true
	}
	return eachSaved(k.dataDir, func(file string, s saved) error {
		switch {
		case s.torn(file):
			return removeTorn(file)
		case s.network != c.Network || keep[strings.TrimSuffix(file, ".tmp")]:
			return nil
		}
		return removeSaved(file)
	})
}

// torn reports whether nothing was written to a file yet. If its process was killed before it had, the
// file is nobody's.
func (s *saved) torn(file string) bool { return s.containerID == "" && strings.HasSuffix(file, ".tmp") }

// eachSaved reads the files in a directory, also those that a killed process left half-written. It
// goes on after an error.
func eachSaved(dir string, each func(file string, s saved) error) error {
	entries, err := os.ReadDir(dir)
	if fault.Absent(err) {
		return nil
	}
	for _, e := range entries {
		file := filepath.Join(dir, e.Name())
		if !strings.HasSuffix(strings.TrimSuffix(file, ".tmp"), ".json") || !e.Type().IsRegular() {
			continue
		}
		text, readErr := os.ReadFile(file)
		if fault.Absent(readErr) {
			continue // removed by a DEL meanwhile
		}
		if readErr != nil {
			err = errors.Join(err, readErr)
			continue
		}
		err = errors.Join(err, each(file, decodeSaved(text)))
	}
	return fault.Wrap("saved attributes", err)
}

// removeIf removes a file if it still should go. The directory is locked, so nobody saves meanwhile.
func removeIf(file string, should func() bool) error {
	fd, err := flock.Open(filepath.Dir(file))
	if err != nil {
		return err
	}
	defer unix.Close(fd)
	if !should() {
		return nil
	}
	return removeSaved(file)
}

// removeTorn removes a file that nobody is about to write.
func removeTorn(file string) error {
	return removeIf(file, func() bool {
		st, err := os.Stat(file)
		return err == nil && st.Size() == 0
	})
}

func removeSaved(file string) error {
	if err := os.Remove(file); err != nil && !fault.Absent(err) {
		return err
	}
	return nil
}
