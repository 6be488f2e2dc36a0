// SPDX-License-Identifier: Apache-2.0

package hostdevice

import (
	"errors"
	"io/fs"
	"slices"
	"strconv"
	"strings"
	"unicode"

	"github.com/swiftcni/swiftcni/cni/spec"
	"github.com/swiftcni/swiftcni/internal/fault"
	"github.com/swiftcni/swiftcni/internal/names"
	"github.com/swiftcni/swiftcni/rtnl"
	"golang.org/x/sys/unix"
)

// A link that was moved has two marks. Both go with it, wherever it goes. Its alias is its name on
// the host, as the reference writes it, so that either program can give back what the other one
// took. And it has an alternative name that's derived from the owner, by which DEL and GC find it
// without a namespace: when a namespace ends, the kernel moves a physical link back to the initial
// one, under the name that it had inside, or as devINDEX where that's taken
// (default_device_exit_net, net/core/dev.c). A link of a virtual kind ends with the namespace
// instead.

// A passage is the way between the host and a container.
type passage struct {
	keys   *Keys
	host   *rtnl.Conn
	inside *rtnl.Conn // nil: the container's namespace is gone
	ifName string
	mark   string // the alternative name
}

// take moves a link of the host's into the container: one send. The kernel moves it under its own
// name if it can, and then renames it, so that the host's programs only ever see it go.
func (p *passage) take(l rtnl.LinkState, container *rtnl.NetNS) error {
	var b rtnl.Batch
	b.Set(rtnl.Link{Index: l.Index, Alias: l.Name})
	if !slices.Contains(l.AltNames, p.mark) {
		b.Create(rtnl.AltName{Link: l.Index, Name: p.mark})
	}
	// Nobody has restored a link that came back under its own name. Older kernels find its marks on the host alone.
	marks := b.Len()
	unmark(&b, l, p.mark)
	last := b.Len()
	b.Set(rtnl.Link{Index: l.Index, NetNS: container, Name: p.ifName, Alias: l.Name})
	err := p.host.Do(&b)
	var refused rtnl.Refused
	if !errors.As(err, &refused) {
		return err
	}
	for _, e := range refused {
		// Before Linux 5.5 there are no alternative names. Another may have taken one away.
		if e.Step == last || e.Errno != unix.EOPNOTSUPP && (e.Step < marks || e.Errno != unix.ENOENT) {
			return err
		}
	}
	return nil
}

// unmark takes all marks away but one.
func unmark(b *rtnl.Batch, l rtnl.LinkState, but string) {
	for _, name := range l.AltNames {
		if names.IsMoved(name) && name != but {
			b.Delete(rtnl.AltName{Link: l.Index, Name: name})
		}
	}
}

// takeBack undoes take, however far that came.
func (p *passage) takeBack(was rtnl.LinkState) error {
	l, ok, err := p.inContainer(p.ifName, was.Name)
	if err != nil {
		return err
	}
	if ok && l.Alias == was.Name { // else it's a stranger's
		if err := p.giveBack(l, was.Name); err != nil {
			return err
		}
	}
	now, err := p.host.Link(was.Name)
	if err != nil {
		return err
	}
	var b rtnl.Batch
	b.Delete(rtnl.AltName{Link: now.Index, Name: p.mark})
	alias := was.Alias
	if alias == "" {
		alias = rtnl.NoAlias
	}
	b.Set(rtnl.Link{Index: now.Index, Alias: alias, State: was.State})
	return p.host.Do(&b)
}

// giveBack moves a link of the container's to the host. It gets its name before it's there, if the
// container has none of that name, and else on the way or at once afterwards. If it can't go, it
// stays what it was, but for routes that ended as it went down.
func (p *passage) giveBack(l rtnl.LinkState, name string) error {
	host, err := rtnl.CurrentNetNS()
	if err != nil {
		return fault.Wrap("open the host's network namespace", err)
	}
	defer host.Close()
	var b rtnl.Batch
	b.Set(rtnl.Link{Index: l.Index, State: rtnl.Down}) // before Linux 6.2 a link that is up keeps its name
	if name != l.Name {
		b.Set(rtnl.Link{Index: l.Index, Name: name})
	}
	last := b.Len()
	b.Set(rtnl.Link{Index: l.Index, NetNS: host, Name: name})
	err = p.inside.Do(&b)
	var refused rtnl.Refused
	if !errors.As(err, &refused) {
		return fault.Wrap("failed to move "+strconv.Quote(l.Name)+" to hostNS", err)
	}
	for _, e := range refused {
		if e.Step != last {
			continue
		}
		var stay rtnl.Batch
		stay.Set(rtnl.Link{Index: l.Index, Name: l.Name})
		stay.Set(rtnl.Link{Index: l.Index, State: l.State})
		_ = p.inside.Do(&stay) // the refusal is what counts
		if errors.Is(e, fs.ErrExist) {
			return &spec.Error{Code: spec.CodeInternal, Err: e, Msg: "failed to rename device " + strconv.Quote(l.Name) + " to " + strconv.Quote(name) + ": the host has another link of that name"}
		}
		return fault.Wrap("failed to move "+strconv.Quote(name)+" to hostNS", e)
	}
	return nil
}

// restore makes a link that's on the host what it was: its name is in its alias. The link stays
// down, as nobody knows whether it was up.
func (p *passage) restore(l rtnl.LinkState) error {
	if gone, err := p.rename(l); gone || err != nil {
		return err
	}
	var b rtnl.Batch
	unmark(&b, l, "")
	b.Set(rtnl.Link{Index: l.Index, Alias: rtnl.NoAlias})
	if err := p.host.Do(&b); err != nil && !fault.OnlyAbsent(err) {
		return fault.Wrap("failed to unset alias of "+strconv.Quote(l.Name), err)
	}
	return nil
}

// rename gives a link of the host's its own name. If another link has the one that the configuration
// says, the link is another device, as of an earlier configuration. Then the alias says its name.
func (p *passage) rename(l rtnl.LinkState) (gone bool, taken error) {
	for _, name := range []string{p.keys.hostName(l), l.Alias} {
		switch {
		case name == l.Name:
			return false, nil
		case !isName(name):
			continue
		}
		var b rtnl.Batch
		b.Set(rtnl.Link{Index: l.Index, State: rtnl.Down})
		b.Set(rtnl.Link{Index: l.Index, Name: name})
		err := p.host.Do(&b)
		if err == nil || fault.OnlyAbsent(err) {
			return err != nil, nil
		}
		err = fault.Wrap("failed to rename device "+strconv.Quote(l.Name)+" to "+strconv.Quote(name), err)
		if !errors.Is(err, fs.ErrExist) {
			return false, err
		}
		if taken == nil {
			taken = err
		}
	}
	return false, taken
}

// hostName is a moved link's name on the host. The container may have changed the alias, but not
// what the configuration says. "" is a name that nobody knows any more.
func (k *Keys) hostName(l rtnl.LinkState) string {
	switch name := l.Alias; {
	case isName(name) && (k.device == "" || name == k.device || slices.Contains(l.AltNames, k.device)):
		return name
	case isName(k.device):
		return k.device
	}
	return ""
}

// isName reports whether a text can be a link's name (dev_valid_name, net/core/dev.c). One with a
// percent sign can't be given: the kernel takes it for a pattern.
func isName(s string) bool {
	return s != "" && len(s) <= names.MaxLink && s != "." && s != ".." && !strings.ContainsAny(s, "/:%\x00") && !strings.ContainsFunc(s, unicode.IsSpace)
}

// marked finds the link with a mark in a conn's namespace. A kernel may still know an alternative
// name of a link that has moved elsewhere.
func marked(conn *rtnl.Conn, mark string) (l rtnl.LinkState, ok bool, _ error) {
	index, err := conn.Index(mark)
	if err == nil {
		l, err = conn.LinkByIndex(index)
	}
	if fault.Absent(err) {
		return l, false, nil
	}
	return l, err == nil && slices.Contains(l.AltNames, mark), err
}

// inContainer finds the attachment's link in the container, by its mark, or by one of the names that
// it may have. Older kernels than 6.6, or than its fixes, leave alternative names behind:
// look-ups don't find them, but the link has them, whatever the container calls it. The reference's
// has no mark, but an alias.
func (p *passage) inContainer(names ...string) (l rtnl.LinkState, ok bool, err error) {
	if l, ok, err = marked(p.inside, p.mark); ok || err != nil {
		return l, ok, err
	}
	l, ok, err = first(p.inside, func(l *rtnl.LinkState) bool { return slices.Contains(l.AltNames, p.mark) })
	if ok || err != nil {
		return l, ok, err
	}
	for _, name := range names {
		l, err = p.inside.Link(name)
		switch {
		case fault.Absent(err):
		case err != nil:
			return l, false, err
		case isName(l.Alias) && !isMoved(l):
			return l, true, nil
		}
	}
	return l, false, nil
}

// isMoved reports whether a link has a mark, whosever.
func isMoved(l rtnl.LinkState) bool { return slices.ContainsFunc(l.AltNames, names.IsMoved) }
