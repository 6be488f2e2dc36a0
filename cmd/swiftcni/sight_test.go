// SPDX-License-Identifier: Apache-2.0

package main

import (
	"encoding/json"
	"fmt"
	"net/netip"
	"os"
	"os/exec"
	"slices"
	"strings"
)

// A sight is what an IPAM plugin finds when it's called: the world that dhcp and its like work in.
type sight struct {
	Verb   string
	Link   linkSight      // the container's, if it's there
	Addrs  []netip.Prefix // its addresses but for link-local ones
	Routes int            // of the container's main table, of IPv4
	Port   linkSight      // its peer on the host
	Bridge []netip.Prefix // the bridge's addresses but for link-local ones
	Rules  string         // the elements of the ruleset that name the owner
	DAD    string         // net.ipv6.conf.IFNAME.accept_dad
}

// linkSight is a part of what ip prints of a link.
type linkSight struct {
	Index  int      `json:"ifindex"`
	Peer   int      `json:"link_index"`
	Name   string   `json:"ifname"`
	Flags  []string `json:"flags"`
	MTU    int      `json:"mtu"`
	Master string   `json:"master"`
	MAC    string   `json:"address"`
	Info   struct {
		Slave struct {
			State    string
			Hairpin  bool
			Isolated bool
		} `json:"info_slave_data"`
	} `json:"linkinfo"`
	Addrs []struct {
		Local string
		Bits  int `json:"prefixlen"`
		Scope string
	} `json:"addr_info"`
}

// carries reports whether a link is up and can carry packets.
func (l *linkSight) carries() bool {
	return slices.Contains(l.Flags, "UP") && slices.Contains(l.Flags, "LOWER_UP")
}

// look is done on the host, where the container's namespace is at a path.
func look(verb, netns, ifName, bridge string) (s sight, err error) {
	s.Verb = verb
	if netns != "" {
		if err := s.lookInside(netns, ifName); err != nil {
			return s, err
		}
	}
	links, err := ipLinks("", "addr")
	if err != nil {
		return s, err
	}
	for _, l := range links {
		switch {
		case l.Name == bridge:
			s.Bridge = l.global()
		case s.Link.Index != 0 && l.Index == s.Link.Peer:
			s.Port = l
		}
	}
	ruleset, err := exec.Command("nft", "list", "ruleset").Output()
	owner := os.Getenv("CNI_CONTAINERID") + "/" + ifName
	for line := range strings.Lines(string(ruleset)) {
		if strings.Contains(line, owner+`"`) {
			s.Rules += strings.TrimSpace(line) + "\n"
		}
	}
	return s, err
}

func (s *sight) lookInside(netns, ifName string) error {
	links, err := ipLinks(netns, "addr")
	if err != nil {
		return err
	}
	for _, l := range links {
		if l.Name == ifName {
			s.Link, s.Addrs = l, l.global()
		}
	}
	routes, err := ipLinks(netns, "route")
	s.Routes = len(routes)
	dad, _ := inNetNS(netns, "cat", "/proc/sys/net/ipv6/conf/"+ifName+"/accept_dad")
	s.DAD = strings.TrimSpace(string(dad))
	return err
}

func (l *linkSight) global() (list []netip.Prefix) {
	for _, a := range l.Addrs {
		if a.Scope == "global" {
			list = append(list, netip.MustParsePrefix(fmt.Sprintf("%s/%d", a.Local, a.Bits)))
		}
	}
	return list
}

// ipLinks reads what ip shows of a namespace's links, or its host's.
func ipLinks(netns, object string) (list []linkSight, err error) {
	text, err := inNetNS(netns, "ip", "-j", "-d", object, "show")
	if err != nil {
		return nil, fmt.Errorf("ip %s: %w", object, err)
	}
	return list, json.Unmarshal(text, &list)
}

func inNetNS(netns, name string, args ...string) ([]byte, error) {
	if netns != "" {
		name, args = "nsenter", append([]string{"--net=" + netns, name}, args...)
	}
	return exec.Command(name, args...).Output()
}
