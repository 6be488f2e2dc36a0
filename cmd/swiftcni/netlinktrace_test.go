// SPDX-License-Identifier: Apache-2.0

package main

import (
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"os"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

// addCalls counts the system calls of a trace.
func (c counts) addCalls(t *testing.T, verb int, file string) {
	t.Helper()
	for name, n := range tracedCalls(t, file) {
		if !slices.Contains(scheduling, name) {
			c.add(verb, "system call "+name, n)
		}
	}
}

// addMessages counts the netlink messages that a trace sends.
func (c counts) addMessages(t *testing.T, verb int, file string) {
	t.Helper()
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	messages, err := sentMessages(string(text))
	if err != nil {
		t.Fatal(err)
	}
	for _, m := range messages {
		c.add(verb, "netlink message "+m.name(), 1)
		if m.takesRTNL() {
			c.add(verb, "messages and ioctls that take RTNL", 1)
		}
	}
	if n := strings.Count(string(text), "SIOCETHTOOL"); n > 0 {
		c.add(verb, "messages and ioctls that take RTNL", n)
	}
}

// message is a netlink message's protocol and type.
type message struct {
	protocol string // NETLINK_ROUTE or NETLINK_NETFILTER
	kind     uint16
}

var (
	openedSocket = regexp.MustCompile(`^\d+ +socket\(AF_NETLINK, [^,]+, (NETLINK_\w+)\) += (\d+)`)
	sentMessage  = regexp.MustCompile(`^\d+ +sendmsg\((\d+), .*?iov_base="([^"]*)"`)
	sentDecoded  = regexp.MustCompile(`^\d+ +sendto\((\d+), .*`)
	decodedType  = regexp.MustCompile(`\{nlmsg_len=\d+, nlmsg_type=([^ ,]+)`)
)

// sentMessages finds the messages that a trace by `strace -xx` has sent. It decodes those of sendto
// itself, and writes those of sendmsg as bytes.
func sentMessages(trace string) ([]message, error) {
	var list []message
	protocols := map[string]string{} // by file descriptor
	for _, line := range wholeLines(trace) {
		if found := openedSocket.FindStringSubmatch(line); found != nil {
			protocols[found[2]] = found[1]
		} else if found := sentMessage.FindStringSubmatch(line); found != nil {
			data, err := hex.DecodeString(strings.ReplaceAll(found[2], `\x`, ""))
			if err != nil {
				return nil, fmt.Errorf("%.80q: %w", line, err)
			}
			for len(data) >= unix.NLMSG_HDRLEN {
				size := int(binary.NativeEndian.Uint32(data))
				list = append(list, message{protocols[found[1]], binary.NativeEndian.Uint16(data[4:])})
				if size < unix.NLMSG_HDRLEN {
					return nil, fmt.Errorf("message of %d bytes in %.80q", size, line)
				}
				data = data[min((size+3)&^3, len(data)):]
			}
		} else if found := sentDecoded.FindStringSubmatch(line); found != nil {
			for _, each := range decodedType.FindAllStringSubmatch(line, -1) {
				kind, ok := kindOf(each[1])
				if !ok {
					return nil, fmt.Errorf("message of type %q in %.80q", each[1], line)
				}
				list = append(list, message{protocols[found[1]], kind})
			}
		}
	}
	if len(list) == 0 {
		return nil, fmt.Errorf("a trace without netlink messages")
	}
	return list, nil
}

// wholeLines puts calls together that other threads' lines have cut in two.
func wholeLines(trace string) (list []string) {
	begun := map[string]string{} // by thread
	for line := range strings.Lines(trace) {
		line = strings.TrimSuffix(line, "\n")
		thread, rest, _ := strings.Cut(line, " ")
		if first, cut := strings.CutSuffix(line, "<unfinished ...>"); cut {
			begun[thread] = strings.TrimSuffix(first, " ")
		} else if _, rest, resumed := strings.Cut(rest, " resumed>"); resumed {
			list = append(list, begun[thread]+rest)
		} else {
			list = append(list, line)
		}
	}
	return list
}

// routeKinds are the messages of linux/rtnetlink.h, and nftKinds those of
// linux/netfilter/nf_tables.h that we send.
func routeKinds() map[uint16]string {
	return map[uint16]string{
		unix.RTM_NEWLINK: "RTM_NEWLINK", unix.RTM_DELLINK: "RTM_DELLINK", unix.RTM_GETLINK: "RTM_GETLINK", unix.RTM_SETLINK: "RTM_SETLINK",
		unix.RTM_NEWADDR: "RTM_NEWADDR", unix.RTM_DELADDR: "RTM_DELADDR", unix.RTM_GETADDR: "RTM_GETADDR",
		unix.RTM_NEWROUTE: "RTM_NEWROUTE", unix.RTM_DELROUTE: "RTM_DELROUTE", unix.RTM_GETROUTE: "RTM_GETROUTE",
		unix.RTM_NEWNEIGH: "RTM_NEWNEIGH", unix.RTM_DELNEIGH: "RTM_DELNEIGH", unix.RTM_GETNEIGH: "RTM_GETNEIGH",
	}
}

func nftKinds() map[uint16]string {
	const nftables = unix.NFNL_SUBSYS_NFTABLES << 8
	return map[uint16]string{
		unix.NFNL_MSG_BATCH_BEGIN: "NFNL_MSG_BATCH_BEGIN", unix.NFNL_MSG_BATCH_END: "NFNL_MSG_BATCH_END",
		nftables | unix.NFT_MSG_NEWSETELEM: "NFT_MSG_NEWSETELEM", nftables | unix.NFT_MSG_DELSETELEM: "NFT_MSG_DELSETELEM",
		nftables | unix.NFT_MSG_GETSETELEM: "NFT_MSG_GETSETELEM", nftables | unix.NFT_MSG_GETCHAIN: "NFT_MSG_GETCHAIN",
		nftables | unix.NFT_MSG_GETGEN: "NFT_MSG_GETGEN", nftables | unix.NFT_MSG_GETSET: "NFT_MSG_GETSET",
	}
}

// kindOf reads a type as strace writes it: by name where it knows the socket's protocol, else as a
// number.
func kindOf(text string) (uint16, bool) {
	name := strings.TrimPrefix(text, "NFNL_SUBSYS_NFTABLES<<8|")
	for _, kinds := range []map[uint16]string{routeKinds(), nftKinds()} {
		for kind, each := range kinds {
			if each == name {
				return kind, true
			}
		}
	}
	kind, err := strconv.ParseUint(text, 0, 16)
	return uint16(kind), err == nil
}

func (m message) name() string {
	kinds := routeKinds()
	if m.protocol == "NETLINK_NETFILTER" {
		kinds = nftKinds()
	}
	if name, ok := kinds[m.kind]; ok {
		return name
	}
	return fmt.Sprintf("%s %#x", m.protocol, m.kind)
}

// takesRTNL is true of each change through rtnetlink, and of asking for one link (rtnl_getlink,
// net/core/rtnetlink.c). Types come in fours: new, del, get, set.
func (m message) takesRTNL() bool {
	return m.protocol == "NETLINK_ROUTE" && (m.kind%4 != 2 || m.kind == unix.RTM_GETLINK)
}

func TestSentMessages(t *testing.T) {
	const trace = `10 socket(AF_NETLINK, SOCK_RAW|SOCK_CLOEXEC, NETLINK_ROUTE) = 4
10 socket(AF_NETLINK, SOCK_RAW|SOCK_CLOEXEC, NETLINK_NETFILTER <unfinished ...>
11 futex(0x1, FUTEX_WAIT_PRIVATE, 0, NULL <unfinished ...>
10 <... socket resumed>)    = 5
10 sendmsg(4, {msg_name=NULL, msg_namelen=0, msg_iov=[{iov_base="\x12\x00\x00\x00\x14\x00\x01\x06\x01\x00\x00\x00\x00\x00\x00\x00\xff\xff\x00\x00\x10\x00\x00\x00\x12\x00\x01\x00\x02\x00\x00\x00\x00\x00\x00\x00", iov_len=36}], msg_iovlen=1}, 0) = 36
10 sendmsg(5, {msg_name=NULL, msg_namelen=0, msg_iov=[{iov_base="\x10\x00\x00\x00\x10\x00\x01\x00\x00\x00\x00\x00\x00\x00\x00\x00", iov_len=16}], msg_iovlen=1}, 0) = 16
11 sendto(4, [{nlmsg_len=32, nlmsg_type=RTM_DELLINK, nlmsg_flags=NLM_F_REQUEST|NLM_F_ACK, nlmsg_seq=1, nlmsg_pid=0}, {ifi_family=AF_UNSPEC}], 32, 0, NULL, 0) = 32
11 sendto(5, [[{nlmsg_len=20, nlmsg_type=0xa0c /* NLMSG_??? */, nlmsg_flags=0}], {nlmsg_len=20, nlmsg_type=NFNL_SUBSYS_NFTABLES<<8|NFT_MSG_DELSETELEM, nlmsg_flags=0}], 40, 0, NULL, 0) = 40
`
	list, err := sentMessages(trace)
	var names []string
	taking := 0
	for _, m := range list {
		names = append(names, m.name())
		if m.takesRTNL() {
			taking++
		}
	}
	if want := "RTM_NEWADDR RTM_GETLINK NFNL_MSG_BATCH_BEGIN RTM_DELLINK NFT_MSG_NEWSETELEM NFT_MSG_DELSETELEM"; err != nil || strings.Join(names, " ") != want || taking != 3 {
		t.Errorf("%v, %d take RTNL, %v; want %s, 3", names, taking, err, want)
	}
	if _, err := sentMessages(""); err == nil {
		t.Error("an empty trace is no error")
	}
}

func TestCountsDiff(t *testing.T) {
	was := counts{"system call close": {9, 8}, "page faults": {100, 90}, "gone": {1, 0}}
	again, err := parseCounts(was.text())
	if err != nil || again.diff(was) != "" || was.diff(again) != "" {
		t.Errorf("read back: %v, %v", again, err)
	}
	now := counts{"system call close": {9, 9}, "page faults": {109, 99}, "new": {0, 2}}
	want := []string{"ADD  gone 1 -> 0 (-1)", "DEL  new 0 -> 2 (+2)", "DEL  system call close 8 -> 9 (+1)"}
	var got []string
	for line := range strings.Lines(was.diff(now)) {
		verb, rest, _ := strings.Cut(strings.TrimSpace(line), " ")
		got = append(got, verb+"  "+strings.Join(strings.Fields(rest), " "))
	}
	if !slices.Equal(got, want) {
		t.Errorf("diff %q, want %q", got, want)
	}
	if _, err := parseCounts([]byte("system call close 9\n")); err == nil {
		t.Error("a line of two numbers too few is no error")
	}
}
