// SPDX-License-Identifier: Apache-2.0

package main

import (
	"cmp"
	"errors"
	"net/netip"
	"os"
	"path/filepath"
	"regexp"
	"slices"

	"github.com/swiftcni/swiftcni/ipam"
)

// held is an attachment as the leases tell it.
type held struct {
	Network     string       `json:"network"`
	ContainerID string       `json:"containerID"`
	IfName      string       `json:"ifName,omitempty"` // unset for leases of host-local before 0.7
	Addresses   []netip.Addr `json:"addresses"`
	Link        string       `json:"link,omitempty"` // the host end; unset where only host-local knows the lease
	Exists      existence    `json:"linkExists"`
}

// existence is whether a link is there, as far as it can be told.
type existence string

const (
	exists  existence = "yes"
	missing existence = "no"
	unknown existence = "unknown"
)

// inventory lists what is held of every network in dir, by network, container and interface. The list is as
// whole as the errors allow.
func inventory(dir string) ([]held, error) {
	networks, err := networksIn(dir)
	if err != nil {
		return nil, err
	}
	links, err := readLinks()
	list := []held{}
	for _, name := range networks {
		of, networkErr := networkInventory(dir, name, links)
		list = append(list, of...)
		err = errors.Join(err, networkErr)
	}
	return list, err
}

// networksIn lists the networks whose leases are in dir, by name. What no network can be called isn't one.
func networksIn(dir string) (names []string, err error) {
	entries, err := os.ReadDir(dir)
	for _, e := range entries {
		if e.IsDir() && networkName.MatchString(e.Name()) {
			names = append(names, e.Name())
		}
	}
	return names, err
}

// networkName is the CNI specification's rule. The store keeps what it knows besides leases in a directory with a dot.
var networkName = regexp.MustCompile(`^[a-zA-Z0-9][a-zA-Z0-9_.-]*$`)

// networkInventory lists one network. It reads the leases once and the records once, however many there are.
func networkInventory(dir, network string, links *links) (list []held, err error) {
	store, err := ipam.OpenReadOnly(dir, network)
	if err != nil {
		return nil, err
	}
	owners := map[ipam.Owner]*held{}
	of := func(o ipam.Owner) *held {
		if owners[o] == nil {
			owners[o] = &held{Network: network, ContainerID: o.ContainerID, IfName: o.IfName,
				Addresses: []netip.Addr{}, Exists: unknown}
		}
		return owners[o]
	}
	for l, leaseErr := range store.Leases() {
		if leaseErr != nil {
			err = errors.Join(err, inDir(dir, network, leaseErr))
			continue
		}
		h := of(l.Owner)
		h.Addresses = append(h.Addresses, l.Prefix.Addr())
	}
	for r, recordErr := range store.Records() {
		if recordErr != nil {
			err = errors.Join(err, inDir(dir, network, recordErr))
			continue
		}
		h := of(r.Owner)
		h.Link, h.Exists = r.Link, links.find(r)
	}
	for _, h := range owners {
		slices.SortFunc(h.Addresses, netip.Addr.Compare)
		list = append(list, *h)
	}
	slices.SortFunc(list, func(a, b held) int {
		return cmp.Or(cmp.Compare(a.ContainerID, b.ContainerID), cmp.Compare(a.IfName, b.IfName))
	})
	return list, errors.Join(err, store.Close())
}

// inDir makes sure that an error names the network's directory.
func inDir(dir, network string, err error) error {
	var path *os.PathError
	if errors.As(err, &path) && filepath.IsAbs(path.Path) {
		return err
	}
	return &os.PathError{Op: "list", Path: filepath.Join(dir, network), Err: err}
}
