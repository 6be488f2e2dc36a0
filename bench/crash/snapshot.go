// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"io/fs"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"
)

// snapshot is everything that plugins may leave on a host and in its containers, a line for each
// thing.
type snapshot map[string]bool

// beyond returns the lines of s that aren't allowed. A lease is never allowed.
func (s snapshot) beyond(allowed snapshot) (list []string) {
	for line := range s {
		if !allowed[line] && !diesWithContainer(line) || isLease(line) {
			list = append(list, line)
		}
	}
	return sorted(list)
}

// diesWithContainer reports whether a line is of a container's sysctl, whose former value nobody
// knows.
func diesWithContainer(line string) bool {
	return strings.HasPrefix(line, "container ") && strings.Contains(line, " sysctl ")
}

func isLease(line string) bool {
	path, ok := strings.CutPrefix(line, "file ")
	if !ok {
		return false
	}
	_, err := netip.ParseAddr(filepath.Base(path))
	// The sidecar's bitmaps have a block's first address as their name.
	return err == nil && !strings.Contains(path, "/@")
}

// normal is s with one name for all host ends, since the reference's are random, and with the
// number of equal lines.
func (s snapshot) normal() snapshot {
	counts := map[string]int{}
	for line := range s {
		counts[randomName.ReplaceAllString(line, "veth*")]++
	}
	n := snapshot{}
	for line, count := range counts {
		if count > 1 {
			line = fmt.Sprintf("%s (%d)", line, count)
		}
		n[line] = true
	}
	return n
}

// less returns the lines of other that s lacks.
func (s snapshot) less(other snapshot) (list []string) {
	for line := range other {
		if !s[line] {
			list = append(list, line)
		}
	}
	return sorted(list)
}

// take looks at everything.
func (h *host) take() (snapshot, error) {
	s := snapshot{}
	if err := s.links("host"); err != nil {
		return nil, err
	}
	if err := s.ruleset(); err != nil {
		return nil, err
	}
	for id := range h.containers {
		if err := h.inside(id, func() error { return s.links("container " + id) }); err != nil {
			return nil, err
		}
	}
	if err := s.dhcp(); err != nil {
		return nil, err
	}
	for _, dir := range stateDirs {
		if err := s.files(dir); err != nil {
			return nil, err
		}
	}
	return s, nil
}

// randomName is the form of the name of a pair's host end, of both swiftcni and the reference.
var randomName = regexp.MustCompile(`\bveth[0-9a-f]{8}\b`)

// bootID is in the name of a file that swiftcni makes once in each boot.
var bootID = regexp.MustCompile(`[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}`)

// links are links, addresses that somebody added, routes and permanent neighbours of the thread's
// namespace.
func (s snapshot) links(where string) error {
	links, err := net.Interfaces()
	if err != nil {
		return fmt.Errorf("list links: %w", err)
	}
	names := map[int]string{}
	for _, l := range links {
		names[l.Index] = l.Name
		if l.Flags&net.FlagLoopback != 0 {
			continue
		}
		s[where+" link "+l.Name] = true
		if where != "host" {
			s[fmt.Sprintf("%s mtu %d of %s", where, l.MTU, l.Name)] = true
		}
		addrs, err := l.Addrs()
		if err != nil {
			return fmt.Errorf("list addresses: %w", err)
		}
		for _, a := range addrs {
			if n, ok := a.(*net.IPNet); ok && !n.IP.IsLinkLocalUnicast() {
				s[where+" address "+a.String()+" on "+l.Name] = true
			}
		}
	}
	s.sysctls(where)
	for _, fill := range []func(string, map[int]string) error{s.routes, s.rules, s.queues, s.marks} {
		if err := fill(where, names); err != nil {
			return err
		}
	}
	return s.neighbours(where, names)
}

func (s snapshot) routes(where string, names map[int]string) error {
	return dump(unix.RTM_GETROUTE, unix.SizeofRtMsg, func(m syscall.NetlinkMessage, attrs map[uint16][]byte) {
		table, length := m.Data[4], m.Data[1]
		dst, ok := netip.AddrFromSlice(attrs[unix.RTA_DST])
		if table == unix.RT_TABLE_LOCAL || ok && (dst.IsLinkLocalUnicast() || dst.IsMulticast()) {
			return
		}
		text := "default"
		if ok {
			text = netip.PrefixFrom(dst, int(length)).String()
		}
		if gateway, ok := netip.AddrFromSlice(attrs[unix.RTA_GATEWAY]); ok {
			text += " via " + gateway.String()
		}
		if oif := attrs[unix.RTA_OIF]; len(oif) == 4 {
			text += " dev " + names[int(binary.NativeEndian.Uint32(oif))]
		}
		if table != unix.RT_TABLE_MAIN {
			text += fmt.Sprintf(" table %d", table)
		}
		s[where+" route "+text] = true
	})
}

func (s snapshot) neighbours(where string, names map[int]string) error {
	return dump(unix.RTM_GETNEIGH, unix.SizeofNdMsg, func(m syscall.NetlinkMessage, attrs map[uint16][]byte) {
		link := names[int(binary.NativeEndian.Uint32(m.Data[4:]))]
		state := binary.NativeEndian.Uint16(m.Data[8:])
		if addr, ok := netip.AddrFromSlice(attrs[unix.NDA_DST]); ok && state&unix.NUD_PERMANENT != 0 {
			s[where+" neighbour "+addr.String()+" on "+link] = true
		}
	})
}

// dump asks rtnetlink for all objects of a kind in the thread's namespace.
func dump(request, header int, each func(syscall.NetlinkMessage, map[uint16][]byte)) error {
	reply, err := syscall.NetlinkRIB(request, unix.AF_UNSPEC)
	if err != nil {
		return fmt.Errorf("dump %d: %w", request, err)
	}
	messages, err := syscall.ParseNetlinkMessage(reply)
	if err != nil {
		return err
	}
	for _, m := range messages {
		if len(m.Data) < header {
			continue
		}
		attrs := map[uint16][]byte{}
		for rest := m.Data[header:]; len(rest) >= 4; {
			size := int(binary.NativeEndian.Uint16(rest))
			if size < 4 || size > len(rest) {
				break
			}
			attrs[binary.NativeEndian.Uint16(rest[2:])] = rest[4:size]
			rest = rest[min((size+3)&^3, len(rest)):]
		}
		each(m, attrs)
	}
	return nil
}

// counted is a counter of packets, which isn't a remainder.
var counted = regexp.MustCompile(`counter packets \d+ bytes \d+`)

// ruleset reads nftables by its own program: each statement with the blocks around it, each element
// by itself.
func (s snapshot) ruleset() error {
	out, err := exec.Command("nft", "list", "ruleset").Output()
	if err != nil {
		return fmt.Errorf("nft list ruleset: %w", err)
	}
	s.rulesetText(string(bytes.TrimSpace(out)))
	return nil
}

func (s snapshot) rulesetText(text string) {
	var blocks []string
	elements := false
	for line := range strings.Lines(text) {
		line = counted.ReplaceAllString(strings.TrimSpace(line), "counter")
		where := strings.Join(blocks, " ")
		if rest, ok := strings.CutPrefix(line, "elements = {"); ok {
			line, elements = strings.TrimSpace(rest), true
		}
		switch {
		case elements:
			rest, done := strings.CutSuffix(line, "}")
			for _, e := range strings.Split(rest, ",") {
				if e = strings.TrimSpace(e); e != "" {
					s["nft "+where+" element "+e] = true
				}
			}
			elements = !done
		case line == "}":
			blocks = blocks[:max(len(blocks)-1, 0)]
		case strings.HasSuffix(line, "{"):
			blocks = append(blocks, strings.TrimSpace(strings.TrimSuffix(line, "{")))
			s["nft "+strings.Join(blocks, " ")] = true
		case line != "":
			s["nft "+where+" "+line] = true
		}
	}
}

// files lists a state directory, and tries its locks, which no process may hold any more.
func (s snapshot) files(dir string) error {
	err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil || path == dir {
			return err
		}
		s["file "+bootID.ReplaceAllString(path, "BOOT")] = true
		if d.Name() == "lock" && d.Type().IsRegular() && held(path) {
			s["lock "+path] = true
		}
		return nil
	})
	if os.IsNotExist(err) {
		return nil
	}
	return err
}

func held(lock string) bool {
	f, err := os.Open(lock)
	if err != nil {
		return false
	}
	defer f.Close()
	return unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB) != nil
}
