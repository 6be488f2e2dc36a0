// SPDX-License-Identifier: Apache-2.0

package main

import (
	"errors"
	"io"
	"io/fs"
	"math/big"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/swiftcni/swiftcni/cni"
	"github.com/swiftcni/swiftcni/internal/facts"
	"github.com/swiftcni/swiftcni/ipam"
	"github.com/swiftcni/swiftcni/nft"
)

// An inventory counts the host's leases and ports at each scrape. It takes no lock, so no call waits
// for it.
type inventory struct{ conf, dataDir string }

var (
	leasesUsed = prometheus.NewDesc("swiftcni_leases_used", `Addresses that are leased, by the configurations' ranges; "other" is outside of them.`,
		[]string{"network", "range"}, nil)
	leasesFree = prometheus.NewDesc("swiftcni_leases_free", "Addresses of a range that can be leased.", []string{"network", "range"}, nil)
	ports      = prometheus.NewDesc("swiftcni_published_ports", "Ports of the host that lead to containers.", []string{"protocol"}, nil)
	read       = prometheus.NewDesc("swiftcni_inventory_read", "1 if the scrape could read it all, else 0.", []string{"part"}, nil)
)

// Describe is of prometheus.Collector.
func (inventory) Describe(ch chan<- *prometheus.Desc) {
	for _, d := range []*prometheus.Desc{leasesUsed, leasesFree, ports, read} {
		ch <- d
	}
}

// Collect is of prometheus.Collector.
func (v inventory) Collect(ch chan<- prometheus.Metric) {
	gauge := func(d *prometheus.Desc, value float64, labels ...string) {
		ch <- prometheus.MustNewConstMetric(d, prometheus.GaugeValue, value, labels...)
	}
	wholly := func(part string, err error) {
		value := 1.0
		if err != nil {
			value = 0
		}
		gauge(read, value, part)
	}
	list, err := v.leases()
	wholly("leases", err)
	for at, n := range list {
		gauge(leasesUsed, float64(n.used), at.network, at.of)
		if n.size != nil {
			free, _ := new(big.Float).SetInt(n.size).Float64()
			gauge(leasesFree, max(0, free-float64(n.taken)), at.network, at.of)
		}
	}
	byProtocol, err := countPorts()
	wholly("ports", err)
	for protocol, n := range byProtocol {
		gauge(ports, float64(n), protocol)
	}
}

// A place is where leases are counted.
type place struct{ network, of string }

// A count is a range's.
type count struct {
	used  int      // leases
	taken int      // those of them that the size counts
	size  *big.Int // addresses that can be leased; nil: it's no range
}

// A store is a network's leases in a directory, with the ranges that its configurations have.
type store struct {
	dir, network string
	ranges       []facts.Range
}

// leases counts leases by the names of their files. The result is as complete as the error allows.
func (v inventory) leases() (map[place]*count, error) {
	stores, err := v.stores()
	counts := map[place]*count{}
	at := func(p place) *count {
		if counts[p] == nil {
			counts[p] = &count{}
		}
		return counts[p]
	}
	for _, s := range stores {
		for _, r := range s.ranges {
			at(place{s.network, rangeName(r)}).size = rangeSize(r)
		}
	}
	for _, s := range stores {
		names, namesErr := fileNames(filepath.Join(s.dir, s.network))
		err = errors.Join(err, namesErr)
		for _, name := range names {
			a, parseErr := netip.ParseAddr(name)
			if parseErr != nil {
				continue
			}
			in := place{s.network, other}
			i := slices.IndexFunc(s.ranges, func(r facts.Range) bool { return contains(r, a) })
			if i >= 0 {
				in.of = rangeName(s.ranges[i])
			}
			c := at(in)
			c.used++
			if i >= 0 && a != s.ranges[i].Gateway {
				c.taken++
			}
		}
	}
	return counts, err
}

// stores are those of configurations, and those that are there.
func (v inventory) stores() (list []*store, err error) {
	of := func(dir, network string) *store {
		for _, s := range list {
			if s.dir == dir && s.network == network {
				return s
			}
		}
		list = append(list, &store{dir: dir, network: network})
		return list[len(list)-1]
	}
	files, err := fileNames(v.conf)
	for _, name := range files {
		if !slices.Contains([]string{".conf", ".conflist", ".json"}, filepath.Ext(name)) {
			continue
		}
		n, readErr := readNetwork(filepath.Join(v.conf, name))
		err = errors.Join(err, readErr)
		if n == nil {
			continue
		}
		for _, p := range facts.Of(n) {
			if p.LeaseDir == "" {
				continue
			}
			s := of(p.LeaseDir, n.Name())
			for _, r := range p.Ranges {
				if !slices.Contains(s.ranges, r) {
					s.ranges = append(s.ranges, r)
				}
			}
		}
	}
	networks, dirErr := fileNames(v.dataDir)
	for _, network := range networks {
		if st, err := os.Stat(filepath.Join(v.dataDir, network)); err == nil && st.IsDir() && !strings.HasPrefix(network, ".") {
			of(v.dataDir, network)
		}
	}
	return list, errors.Join(err, dirErr)
}

// maxConf bounds a configuration, in bytes.
const maxConf = 16 << 20

// readNetwork reads a configuration as far as that is possible. One that isn't ours at all is none.
func readNetwork(path string) (*cni.Network, error) {
	f, err := os.Open(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	defer f.Close()
	text, err := io.ReadAll(io.LimitReader(f, maxConf))
	if err != nil {
		return nil, err
	}
	n, _ := cni.Parse(text)
	return n, nil
}

// fileNames lists a directory, which needn't be there.
func fileNames(dir string) ([]string, error) {
	f, err := os.Open(dir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	defer f.Close()
	return f.Readdirnames(-1)
}

func contains(r facts.Range, a netip.Addr) bool {
	return r.First.Is4() == a.Is4() && r.First.Compare(a) <= 0 && a.Compare(r.Last) <= 0
}

// rangeName is a whole subnet, or the first and the last address.
func rangeName(r facts.Range) string {
	whole, err := ipam.Range{Subnet: r.Subnet}.Canonical()
	if err == nil && whole.Start == r.First && whole.End == r.Last {
		return r.Subnet.String()
	}
	return r.First.String() + "-" + r.Last.String()
}

// rangeSize is how many addresses can be leased, which the gateway's can't.
func rangeSize(r facts.Range) *big.Int {
	n := new(big.Int).SetBytes(r.Last.AsSlice())
	n.Sub(n, new(big.Int).SetBytes(r.First.AsSlice()))
	if !contains(r, r.Gateway) {
		n.Add(n, big.NewInt(1))
	}
	return n
}

// countPorts counts the host's ports by protocol. Both families may have one.
func countPorts() (map[string]int, error) {
	conn, err := nft.Dial()
	if err != nil {
		return nil, err
	}
	defer conn.Close()
	type port struct {
		ip       netip.Addr
		port     uint16
		protocol string
	}
	seen, counts := map[port]bool{}, map[string]int{}
	for p, err := range conn.Published("") {
		if errors.Is(err, errors.ErrUnsupported) {
			break // a kernel without nftables has none
		}
		if err != nil {
			return counts, err
		}
		at := port{p.Mapping.HostIP, p.Mapping.HostPort, p.Mapping.Protocol.String()}
		if at.ip.IsUnspecified() {
			at.ip = netip.Addr{}
		}
		if !seen[at] {
			seen[at] = true
			counts[at.protocol]++
		}
	}
	return counts, nil
}
