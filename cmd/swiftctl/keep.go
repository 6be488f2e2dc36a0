// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/mdlayher/netlink"
	"golang.org/x/sys/unix"
)

// keeping is what a resident does for its host beside calls, each part by choice: gc and sync, by
// themselves.
type keeping struct {
	every    time.Duration // between two gc; 0: none
	restore  bool          // sync after somebody has removed rules
	watchdog time.Duration // without an answer to calls of its own; 0: systemd looks after it, or nobody

	conf, cache string
	dirs        []string // of leases
	dirsNamed   bool
	log         io.Writer
	tell        func(reclaimed int) // hears of attachments that were dead; may be nil
}

// check reports times that make no sense.
func (k *keeping) check() error {
	if k.every < 0 {
		return &usageError{fmt.Errorf("--gc: %v, expected a time of more than 0, or 0 for none", k.every)}
	}
	if k.watchdog != 0 && k.watchdog < time.Second {
		return &usageError{fmt.Errorf("--watchdog: %v, expected 1s or more, or 0 for none", k.watchdog)}
	}
	return nil
}

// run keeps the host until the context ends.
func (k *keeping) run(ctx context.Context) error {
	var losses <-chan struct{}
	if k.restore {
		watch, err := watchRules(ctx)
		if err != nil {
			return fmt.Errorf("watch the ruleset: %w", err)
		}
		losses = watch
	}
	var ticks <-chan time.Time
	if k.every > 0 {
		t := time.NewTicker(k.every)
		defer t.Stop()
		ticks = t.C
	}
	var due <-chan time.Time // for a look at the rules
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-ticks:
			k.say("gc", k.collect(ctx))
		case _, ok := <-losses:
			switch {
			case ok && due == nil:
				due = time.After(settles)
			case !ok && ctx.Err() == nil:
				return errors.New("watch the ruleset: the kernel tells nothing more")
			case !ok:
				return nil
			}
		case <-due:
			due = nil
			k.say("restore", k.sync(ctx))
		}
	}
}

func (k *keeping) say(what string, err error) {
	if err != nil {
		fmt.Fprintf(k.log, "swiftctl serve: %s: %s\n", what, oneLine(err))
	}
}

// collect is `swiftctl gc`.
func (k *keeping) collect(ctx context.Context) error {
	confs, _ := readConfs(nil, k.conf, false)
	c := collecting{dirs: k.dirs}
	if !k.dirsNamed {
		c.dirs = dataDirs(k.dirs, confs)
	}
	err := c.run(ctx, confs)
	if k.tell != nil {
		k.tell(c.leasesEnded())
	}
	return join(printReclaimed(k.log, c.list), err)
}

// sync is `swiftctl sync`. It needs no configuration where nothing is attached.
func (k *keeping) sync(ctx context.Context) error {
	confs, _ := readConfs(nil, k.conf, false)
	s := syncing{cache: k.cache, out: k.log}
	s.confs = withCached(confs, s.cache)
	if len(s.confs) == 0 {
		return nil
	}
	return s.run(ctx, k.dirs, k.dirsNamed)
}

// Constants of linux/netfilter/nf_tables.h and nfnetlink.h.
const (
	groupNFTables = 7 // NFNLGRP_NFTABLES
	msgDelTable   = 2
	msgDelChain   = 5
	msgDelRule    = 8
	attrTable     = 1 // NFTA_TABLE_NAME, NFTA_CHAIN_TABLE, NFTA_RULE_TABLE
)

// settles is how long a change of the ruleset may go on before it's looked at: a firewall that is
// reloaded removes its rules before it makes them.
const settles = 200 * time.Millisecond

// watchRules tells when rules may have been lost on which containers depend. The kernel tells it, and
// an overflow of the socket counts as a loss. The channel is closed when the context ends, or if the
// socket fails.
func watchRules(ctx context.Context) (<-chan struct{}, error) {
	conn, err := netlink.Dial(unix.NETLINK_NETFILTER, nil)
	if err != nil {
		return nil, err
	}
	if err := conn.JoinGroup(groupNFTables); err != nil {
		conn.Close()
		return nil, err
	}
	losses := make(chan struct{}, 1)
	stop := context.AfterFunc(ctx, func() { conn.Close() })
	go func() {
		defer close(losses)
		defer stop()
		for {
			messages, err := conn.Receive()
			if err != nil && !errors.Is(err, unix.ENOBUFS) {
				return
			}
			if err != nil || anyLoss(messages) {
				select {
				case losses <- struct{}{}:
				default: // it isn't heard of yet
				}
			}
		}
	}()
	return losses, nil
}

// anyLoss reports whether notifications tell of something removed that may concern containers.
func anyLoss(messages []netlink.Message) bool {
	for _, m := range messages {
		if m.Header.Type>>8 != unix.NFNL_SUBSYS_NFTABLES {
			continue
		}
		switch m.Header.Type & 0xff {
		case msgDelTable, msgDelChain, msgDelRule:
			if concerns(tableOf(m.Data)) {
				return true
			}
		}
	}
	return false
}

// concerns reports whether containers depend on a table: ours, iptables-nft's with the ways through
// FORWARD, and firewalld's, which it makes anew when it's reloaded, without our sources.
func concerns(table string) bool {
	switch table {
	case strings.TrimSpace(ourTable), "filter", "firewalld":
		return true
	}
	return false
}

// tableOf is the table that a notification is about, or "".
func tableOf(data []byte) string {
	const nfgenmsg = 4 // struct nfgenmsg precedes the attributes
	if len(data) < nfgenmsg {
		return ""
	}
	d, err := netlink.NewAttributeDecoder(data[nfgenmsg:])
	if err != nil {
		return ""
	}
	d.ByteOrder = binary.BigEndian
	for d.Next() {
		if d.Type() == attrTable {
			return d.String()
		}
	}
	return ""
}
