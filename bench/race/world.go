// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/swiftcni/swiftcni/ipam"
	"github.com/swiftcni/swiftcni/nft"
	"github.com/swiftcni/swiftcni/rtnl"
)

// A world is everything that exists, in the kernel and on disk.
type world struct {
	links    map[string]rtnl.LinkState // of the host, by name
	elements []nft.Sender
	leases   map[*network]map[netip.Addr]lease
	records  map[*network][]ipam.Record
	inside   map[*slot]*inside
	following
}

// A lease is a file whose name is an address.
type lease struct {
	owner ipam.Owner
	empty bool
}

// inside is the content of a container's namespace.
type inside struct {
	links  map[string]rtnl.LinkState
	addrs  map[int][]netip.Prefix // by link
	routes []rtnl.Route
}

// look looks at everything. Nothing may change meanwhile.
func (r *runner) look() (*world, error) {
	w := &world{leases: map[*network]map[netip.Addr]lease{}, records: map[*network][]ipam.Record{}, inside: map[*slot]*inside{}}
	var err error
	if w.links, err = hostLinks(); err != nil {
		return nil, err
	}
	if !r.plan.Foreign {
		if w.elements, err = elements(); err != nil {
			return nil, err
		}
		if w.following, err = lookAtFollowing(w.links); err != nil {
			return nil, err
		}
	}
	for _, n := range r.model.networks {
		if n.ipam == "" {
			continue
		}
		if w.leases[n], err = n.leaseFiles(); err != nil {
			return nil, err
		}
		if r.plan.Foreign {
			continue
		}
		if w.records[n], err = n.readRecords(); err != nil {
			return nil, err
		}
	}
	for _, s := range r.model.slots {
		if s.alive {
			if w.inside[s], err = lookInside(s.path); err != nil {
				return nil, fmt.Errorf("look into %s: %w", s.path, err)
			}
		}
	}
	return w, nil
}

func hostLinks() (map[string]rtnl.LinkState, error) {
	c, err := rtnl.Dial(nil)
	if err != nil {
		return nil, err
	}
	defer c.Close()
	return links(c)
}

func links(c *rtnl.Conn) (map[string]rtnl.LinkState, error) {
	all := map[string]rtnl.LinkState{}
	for l, err := range c.Links(rtnl.LinkFilter{}) {
		if err != nil {
			return nil, fmt.Errorf("list links: %w", err)
		}
		all[l.Name] = l
	}
	return all, nil
}

func elements() (list []nft.Sender, err error) {
	c, err := nft.Dial()
	if err != nil {
		return nil, err
	}
	defer c.Close()
	for a, err := range c.Senders("") {
		if err != nil {
			return nil, fmt.Errorf("list elements: %w", err)
		}
		list = append(list, a)
	}
	return list, nil
}

// leaseFiles reads the leases from their files alone, whoever made them.
func (n *network) leaseFiles() (map[netip.Addr]lease, error) {
	list, err := os.ReadDir(n.ipam)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	all := map[netip.Addr]lease{}
	for _, e := range list {
		addr, err := netip.ParseAddr(e.Name())
		if err != nil {
			continue
		}
		content, err := os.ReadFile(filepath.Join(n.ipam, e.Name()))
		if err != nil {
			return nil, err
		}
		id, ifName, _ := strings.Cut(strings.TrimSpace(string(content)), "\r\n")
		all[addr] = lease{owner: ipam.Owner{ContainerID: id, IfName: ifName}, empty: len(content) == 0}
	}
	return all, nil
}

// readRecords reads the lease store's own view, and changes nothing.
func (n *network) readRecords() (list []ipam.Record, err error) {
	s, err := ipam.OpenReadOnly(context.Background(), filepath.Dir(n.ipam), n.name)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	defer s.Close()
	for rec, err := range s.Records() {
		if err != nil {
			return nil, err
		}
		list = append(list, rec)
	}
	return list, nil
}

func lookInside(path string) (*inside, error) {
	ns, err := rtnl.OpenNetNS(path)
	if err != nil {
		return nil, err
	}
	defer ns.Close()
	c, err := rtnl.Dial(ns)
	if err != nil {
		return nil, err
	}
	defer c.Close()
	in := &inside{addrs: map[int][]netip.Prefix{}}
	if in.links, err = links(c); err != nil || len(in.links) < 2 {
		return in, err
	}
	for a, err := range c.Addrs(0, 0) {
		if err != nil {
			return nil, fmt.Errorf("list addresses: %w", err)
		}
		if !a.Prefix.Addr().IsLinkLocalUnicast() && !a.Prefix.Addr().IsLoopback() {
			in.addrs[a.Link] = append(in.addrs[a.Link], a.Prefix)
		}
	}
	for route, err := range c.Routes(rtnl.RouteFilter{Table: rtnl.TableMain}) {
		if err != nil {
			return nil, fmt.Errorf("list routes: %w", err)
		}
		in.routes = append(in.routes, route)
	}
	return in, nil
}

// childBound is how long a process that a plugin left may take to finish its work.
const childBound = time.Minute

// processes waits until only PID 1 and this program are left, and returns those that stay for too
// long.
func processes() (left []string, err error) {
	for deadline := time.Now().Add(childBound); ; time.Sleep(2 * time.Millisecond) {
		if left, err = others(); err != nil || len(left) == 0 || time.Now().After(deadline) {
			return left, err
		}
	}
}

// others lists the box's processes, except PID 1, this program, and its way in.
func others() (list []string, err error) {
	entries, err := os.ReadDir("/proc")
	if err != nil {
		return nil, err
	}
	mine := []int{1, os.Getpid(), os.Getppid()}
	for _, e := range entries {
		pid, err := strconv.Atoi(e.Name())
		if err != nil || slices.Contains(mine, pid) {
			continue
		}
		status, err := os.ReadFile(filepath.Join("/proc", e.Name(), "status"))
		if err != nil {
			continue // it's gone
		}
		lines := strings.SplitN(string(status), "\n", 4)
		list = append(list, e.Name()+" "+strings.Join(lines[:3], " "))
	}
	return list, nil
}
