// SPDX-License-Identifier: Apache-2.0

package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/netip"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// These are the measurements of first in both families. A time is from the first question, which is
// asked as soon as ADD's process has ended, to the first answer. The names say which container is
// asked, and who asks:
const (
	firstOfBridge = "the first on a new bridge"
	laterOnes     = "one after it"
	sameAddress   = "another one with its address"

	askedByHost      = "the host"
	askedByContainer = "another container"
	askedByOutside   = "outside"
)

const (
	// late is more than the answer to a first question takes on the slowest machine. Kernels look
	// for a neighbour again after a second, so a packet that had to wait for that was lost.
	late = 500 * time.Millisecond
	// noAnswer is when the asker gives up: after that second look, and once addresses that were
	// checked for duplicates are in use.
	noAnswer = 3 * time.Second
	// again is the interval at which a question is repeated. It's long enough that the kernel keeps
	// all questions that wait for a neighbour.
	again = 10 * time.Millisecond

	askedBy      = ", asked by "
	bothFamilies = "IPv4 and IPv6"
	dualSuffix   = "-dual"  // of a contestant's name, on its host with both families
	rangesHere   = "RANGES" // in its configuration
)

// dualSetUp gives a host a router that knows the way to containers. Neither checks its own
// addresses for duplicates.
const dualSetUp = `set -e
ip netns add out-NAME
ip link add outside type veth peer name eth0 netns out-NAME
quiet='echo 0 >/proc/sys/net/ipv6/conf/$0/accept_dad'
sh -c "$quiet" outside
ip netns exec out-NAME sh -c "$quiet" eth0
ip addr add 192.0.2.2/24 dev outside
ip addr add 2001:db8::2/64 dev outside
ip link set outside up
ip -n out-NAME addr add 192.0.2.1/24 dev eth0
ip -n out-NAME addr add 2001:db8::1/64 dev eth0
ip -n out-NAME link set eth0 up
ip -n out-NAME route add SUBNET via 192.0.2.2
ip -n out-NAME route add fd00:19:1::/64 via 2001:db8::2`

// dualAddresses are the n-th container's. Their subnets are as large as a configuration can have.
func dualAddresses(c Contestant, n byte) [2]netip.Addr {
	four := netip.MustParsePrefix(c.Subnet).Addr().As4()
	four[3] = n
	six := netip.MustParseAddr("fd00:19:1::").As16()
	six[15] = n
	return [2]netip.Addr{netip.AddrFrom4(four), netip.AddrFrom16(six)}
}

// dual is the contestant on another host, with both families. ok is false for one that can't do
// that, or that another one stands for: neither the reference's ways to masquerade nor a resident,
// which is of one host, make a difference in the answers.
func dual(c Contestant) (d Contestant, ok bool) {
	var config map[string]any
	if slices.Contains([]string{residents, reference, referenceIPTables, floor, netavark}, c.Name) || c.Subnet == "" || json.Unmarshal([]byte(c.Config), &config) != nil {
		return d, false
	}
	d = c
	d.Name += dualSuffix
	d.Leases = filepath.Join("/run", d.Name, "mynet")
	config["ipam"] = map[string]any{"type": "host-local", "dataDir": filepath.Dir(d.Leases),
		"routes": []map[string]string{{"dst": "0.0.0.0/0"}, {"dst": "::/0"}}, "ranges": rangesHere}
	encoded, err := json.Marshal(config)
	d.Config = string(encoded)
	return d, err == nil
}

// withAddresses is the contestant with a range of one in each family, the n-th address.
func (c Contestant) withAddresses(n byte) Contestant {
	var ranges [][]map[string]string
	for i, subnet := range []string{c.Subnet, "fd00:19:1::/64"} {
		address := dualAddresses(c, n)[i].String()
		ranges = append(ranges, []map[string]string{{"subnet": subnet, "rangeStart": address, "rangeEnd": address}})
	}
	encoded, _ := json.Marshal(ranges) // only strings
	c.Config = strings.Replace(c.Config, `"`+rangesHere+`"`, string(encoded), 1)
	return c
}

// dualHosts makes another host for each contestant that knows both families.
func (m *measurer) dualHosts() (list []Contestant, err error) {
	for _, c := range m.Contestants {
		d, ok := dual(c)
		if !ok {
			continue
		}
		d.SetUp = strings.ReplaceAll(replaceName(dualSetUp, d), "SUBNET", d.Subnet)
		if err := m.newHost(d); err != nil {
			return nil, fmt.Errorf("set up %s: %w", d.Name, err)
		}
		// The host and the router know each other beforehand.
		for _, router := range []string{"192.0.2.1", "2001:db8::1"} {
			if err := m.ask(m.hosts[d.Name], netip.MustParseAddr(router), hangs); err != nil {
				return nil, fmt.Errorf("%s: %s: %w", d.Name, router, err)
			}
		}
		list = append(list, d)
	}
	return list, nil
}

// trial is everything that a contestant attaches to a bridge until the bridge is removed.
type trial struct {
	*measurer
	c     Contestant
	round int
	all   []attachment
}

type attachment struct {
	container
	c        Contestant // with the container's addresses
	detached bool
}

// asker asks from a namespace.
type asker struct{ who, netns string }

// answersOf tries a contestant on three new bridges.
func (m *measurer) answersOf(c Contestant, round int) error {
	host := asker{askedByHost, hostOf(c)}
	outside := asker{askedByOutside, filepath.Join("/run/netns", "out-"+c.Name)}
	for _, try := range []func(*trial) error{
		func(t *trial) error { return t.hostAndOutside(host, outside) },
		func(t *trial) error { return t.hostAndOutside(outside, host) },
		func(t *trial) error { return t.peerAndReuse(host, outside) },
	} {
		t := &trial{measurer: m, c: c, round: round}
		if err := errors.Join(try(t), t.end()); err != nil {
			return err
		}
	}
	return nil
}

// hostAndOutside lets one asker ask the first container of a bridge, and the other one ask the
// second container.
func (t *trial) hostAndOutside(first, second asker) error {
	for i, by := range []asker{first, second} {
		at, err := t.newContainer(t.c)
		if err != nil {
			return err
		}
		n := byte(11 + i)
		if err := t.try([]string{firstOfBridge, laterOnes}[i], by, n, at, n); err != nil {
			return err
		}
	}
	return nil
}

// peerAndReuse lets each of the second and the third container ask the one before, as soon as it
// exists. Then each asker has an address given to another container.
func (t *trial) peerAndReuse(host, outside asker) error {
	var at [3]container
	for i := range at {
		var err error
		if at[i], err = t.newContainer(t.c); err != nil {
			return err
		}
	}
	peer := asker{askedByContainer, at[1].netns}
	if _, err := t.add(at[0], 11); err != nil {
		return err
	}
	if err := t.try(firstOfBridge, peer, 11, at[1], 12); err != nil {
		return err
	}
	if err := t.try(laterOnes, peer, 13, at[2], 13); err != nil {
		return err
	}
	for i, by := range []asker{host, peer, outside} {
		if err := t.giveAgain(by, byte(21+i)); err != nil {
			return err
		}
	}
	return nil
}

// giveAgain gives an address to a container, lets by ask it, and gives it to another one right
// after.
func (t *trial) giveAgain(by asker, n byte) error {
	before, err := t.newContainer(t.c)
	if err != nil {
		return err
	}
	after, err := t.newContainer(t.c)
	if err != nil {
		return err
	}
	if _, err := t.add(before, n); err != nil {
		return err
	}
	known, err := t.open(by, n)
	if err != nil {
		return err
	}
	defer closeAll(known)
	askAll(again, hangs, known...)
	for _, q := range known {
		if q.answered == 0 {
			return fmt.Errorf("%s, before it was given again: no answer to %s within %v", q.target, by.who, hangs)
		}
	}
	if err := t.del(len(t.all) - 1); err != nil {
		return err
	}
	return t.try(sameAddress, by, n, after, n)
}

// try attaches a container as the n-th, and asks the named one.
func (t *trial) try(what string, by asker, asked byte, at container, n byte) error {
	questions, err := t.open(by, asked)
	if err != nil {
		return err
	}
	defer closeAll(questions)
	s, err := t.add(at, n)
	if err != nil {
		return err
	}
	askAll(again, noAnswer, questions...)
	if t.round < 0 {
		return nil
	}
	for _, q := range questions {
		series := t.series(t.answerKey(familyOf(q.target), what+askedBy+by.who))
		if q.answered == 0 {
			series.Failed++
			series.Reason = "no answer within " + noAnswer.String()
			continue
		}
		waited := q.answered - q.asked
		series.Samples = append(series.Samples, Sample{Round: t.round, Micros: q.answered - s.start, Waited: waited,
			Lost: q.answer != 1 || waited > float64(late.Microseconds())})
	}
	return nil
}

func (t *trial) answerKey(family, verb string) Key {
	return Key{Experiment: t.Experiment, Axis: family, Contestant: strings.TrimSuffix(t.c.Name, dualSuffix), Verb: verb}
}

func familyOf(a netip.Addr) string {
	if a.Is4() {
		return "IPv4"
	}
	return "IPv6"
}

// open readies a question to each of the n-th container's addresses.
func (t *trial) open(by asker, n byte) (list []*question, err error) {
	netns, err := open(by.netns)
	if err != nil {
		return nil, err
	}
	defer unix.Close(netns)
	for _, address := range dualAddresses(t.c, n) {
		q, err := t.newQuestion(netns, address)
		if err != nil {
			closeAll(list)
			return nil, err
		}
		list = append(list, q)
	}
	return list, nil
}

func closeAll(list []*question) {
	for _, q := range list {
		q.close()
	}
}

func (t *trial) add(at container, n byte) (Sample, error) {
	a := attachment{container: at, c: t.c.withAddresses(n)}
	s, err := t.sampleNow(a.c, at, verbAdd)
	if err != nil {
		return s, err
	}
	t.all = append(t.all, a)
	if t.round >= 0 {
		series := t.series(t.answerKey(bothFamilies, verbAdd))
		series.Samples = append(series.Samples, Sample{Round: t.round, Micros: s.Micros})
	}
	return s, nil
}

func (t *trial) del(i int) error {
	a := &t.all[i]
	if a.detached {
		return nil
	}
	a.detached = true
	_, err := t.sampleNow(a.c, a.container, verbDel)
	return err
}

// end removes everything that is left, including the bridge.
func (t *trial) end() error {
	var list []error
	for i := range t.all {
		list = append(list, t.del(i))
		t.all[i].remove()
	}
	list = append(list, t.shell(t.c, "ip link del "+t.c.Bridge))
	t.settle()
	return errors.Join(list...)
}
