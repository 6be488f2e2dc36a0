// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"time"

	"github.com/swiftcni/swiftcni/cmd/swiftctl/internal/bars"
	"github.com/swiftcni/swiftcni/cmd/swiftctl/internal/box"
	"github.com/swiftcni/swiftcni/cmd/swiftctl/internal/caller"
	"github.com/swiftcni/swiftcni/internal/handover"
	"github.com/swiftcni/swiftcni/internal/stats"
	"github.com/swiftcni/swiftcni/rtnl"
	"golang.org/x/sys/unix"
)

// contest is the measurement of some contestants on one host in a box.
type contest struct {
	host     *box.Host
	list     []*contestant
	resident *exec.Cmd
	notify   *net.UnixConn // hears of the resident's states
	empty    string        // a program that does nothing, or "" where there is none for this processor
	rounds   int
	seed     uint64

	empties []float64
}

// contestant is a directory of plugins, with a host and a container for it alone. They are namespaces.
type contestant struct {
	name, dir   string
	shade       bars.Shade
	host, guest *rtnl.NetNS
	list        caller.List
	call        caller.Container

	adds, dels []float64 // milliseconds, by round
}

const (
	othersDir   = "/opt/others"
	swiftctlDir = "/opt/swiftctl"
	// settle is a pause after each contestant, for what the kernel does later.
	settle = 20 * time.Millisecond
	// warmUp is how many rounds don't count.
	warmUp = 3
)

// newContest makes the host, and starts the resident.
func (b *benching) newContest(ctx context.Context, others map[string]string, label string) (*contest, error) {
	self, err := box.Self()
	if err != nil {
		return nil, err
	}
	files := map[string]string{filepath.Join(pluginDir, binaryName): b.binary, filepath.Join(swiftctlDir, "swiftctl"): self}
	for name, path := range others {
		files[filepath.Join(othersDir, name)] = path
	}
	if label != "" {
		addExisting(files, machinesDirs)
	} else if isDynamic(b.binary) || isDynamic(self) {
		addExisting(files, libraries[:])
	}
	c := &contest{seed: 1}
	if c.host, err = box.Enter(files); err != nil {
		return nil, fmt.Errorf("make a host in a box: %w", err)
	}
	if err := linkPlugins(); err != nil {
		return nil, err
	}
	if err := needNFTables(); err != nil {
		return nil, err
	}
	if label != "" {
		err = c.add(&contestant{name: label, dir: othersDir, shade: bars.Others})
	}
	ours := &contestant{name: "swiftcni", dir: pluginDir, shade: bars.Ours}
	helped := &contestant{name: "swiftcni with a resident", dir: pluginDir, shade: bars.Resident}
	if err = errors.Join(err, c.add(ours), c.add(helped)); err != nil {
		return nil, err
	}
	if err := c.startResident(ctx, helped); err != nil {
		return nil, fmt.Errorf("start a resident: %w", err)
	}
	if c.empty, err = writeEmpty("/tmp/empty"); err != nil {
		return nil, err
	}
	for _, p := range c.list {
		if err := p.verify(ctx); err != nil {
			return nil, fmt.Errorf("%s: %w", p.name, err)
		}
	}
	return c, nil
}

// add makes a contestant's host and its container.
func (c *contest) add(p *contestant) (err error) {
	id := fmt.Sprintf("c%d", len(c.list)+1)
	if p.host, err = c.host.NewNetNS("host-" + id); err != nil {
		return err
	}
	if p.guest, err = c.host.NewNetNS(id); err != nil {
		return err
	}
	conn, err := rtnl.Dial(p.host)
	if err != nil {
		return err
	}
	defer conn.Close()
	var b rtnl.Batch
	b.Set(rtnl.Link{Name: "lo", State: rtnl.Up})
	if err := conn.Do(&b); err != nil {
		return err
	}
	p.list = listToTry("/run/leases/" + id)
	p.call = caller.Container{ID: id, NetNS: p.guest.Path(), IfName: "eth0", Ports: []caller.Port{{HostPort: published, ContainerPort: 80, Protocol: "tcp"}}}
	c.list = append(c.list, p)
	return nil
}

// startResident starts one on a contestant's host, and waits until it says that it's ready.
func (c *contest) startResident(ctx context.Context, p *contestant) (err error) {
	const notify = "/run/notify"
	if c.notify, err = net.ListenUnixgram("unixgram", &net.UnixAddr{Name: notify, Net: "unixgram"}); err != nil {
		return err
	}
	c.resident = exec.CommandContext(ctx, filepath.Join(swiftctlDir, "swiftctl"), "serve")
	c.resident.Env = []string{"NOTIFY_SOCKET=" + notify}
	c.resident.Stderr = os.Stderr
	if err := p.host.Do(c.resident.Start); err != nil {
		return err
	}
	if err := c.notify.SetReadDeadline(time.Now().Add(patience)); err != nil {
		return err
	}
	_, err = c.notify.Read(make([]byte, 100))
	return err
}

// end ends the resident, so that its work is known as our own.
func (c *contest) end() error {
	return errors.Join(c.resident.Process.Signal(unix.SIGTERM), c.resident.Wait())
}

// showResident lets only those find the resident who are to be served by it. The others would have to be
// sent back.
func (p *contestant) showResident() error {
	from, to := handover.Socket, handover.Socket+".away"
	if p.shade == bars.Resident {
		from, to = to, from
	}
	if err := os.Rename(from, to); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return nil
}

// once attaches and detaches the container. attached may look at it meanwhile.
func (p *contestant) once(ctx context.Context, attached func(netip.Addr) error) (add, del time.Duration, err error) {
	if err := p.showResident(); err != nil {
		return 0, 0, err
	}
	err = p.host.Do(func() error {
		res, list, err := p.list.Add(ctx, p.dir, p.call)
		if err != nil {
			return err
		}
		add = caller.Took(list)
		if attached != nil {
			if len(res.IPs) == 0 {
				return errors.New("the result has no address")
			}
			err = attached(res.IPs[0].Address.Addr())
		}
		list, delErr := p.list.Del(ctx, p.dir, p.call, res)
		del = caller.Took(list)
		return errors.Join(err, delErr)
	})
	return add, del, err
}

// verify sees that the container is reached, and that nothing is after DEL: all do the same work.
func (p *contestant) verify(ctx context.Context) error {
	_, _, err := p.once(ctx, func(addr netip.Addr) error {
		l, err := serveAt(p.guest, "c", addr)
		if err != nil {
			return err
		}
		defer l.Close()
		a, err := ask(p.host, netip.AddrPortFrom(addr, 80))
		if err == nil && a.by != "c" {
			err = fmt.Errorf("%q answers", a.by)
		}
		return err
	})
	if err == nil {
		err = lost(p.guest, p.call.IfName)
	}
	return err
}

// measure has all take turns, for some rounds or for some time.
func (c *contest) measure(ctx context.Context, rounds int, limit time.Duration) error {
	random := rand.New(rand.NewPCG(c.seed, 2))
	var end time.Time
	for i := -warmUp; rounds > 0 && i < rounds || rounds == 0 && (i < 2 || time.Now().Before(end)); i++ {
		if i <= 0 {
			end = time.Now().Add(limit)
		}
		for _, n := range random.Perm(len(c.list) + 1) {
			if n == len(c.list) {
				if err := c.doNothing(ctx, i >= 0); err != nil {
					return err
				}
				continue
			}
			p := c.list[n]
			add, del, err := p.once(ctx, nil)
			if err != nil {
				return fmt.Errorf("%s: %w", p.name, err)
			}
			if i >= 0 {
				p.adds, p.dels = append(p.adds, inMillis(add)), append(p.dels, inMillis(del))
			}
			time.Sleep(settle)
		}
		c.rounds = max(0, i+1)
	}
	return nil
}

// doNothing executes as many processes as the plugins are, which do nothing.
func (c *contest) doNothing(ctx context.Context, counts bool) error {
	if c.empty == "" {
		return nil
	}
	var all time.Duration
	for range c.list[0].list.Plugins {
		took, _, err := caller.Execute(ctx, c.empty, nil, nil)
		if err != nil {
			return err
		}
		all += took
	}
	if counts {
		c.empties = append(c.empties, inMillis(all))
	}
	return nil
}

func inMillis(d time.Duration) float64 { return float64(d.Nanoseconds()) / 1e6 }

// groups are the times as bars.
func (c *contest) groups() []bars.Group {
	row := func(name string, shade bars.Shade, times []float64) bars.Row {
		return bars.Row{Name: name, Shade: shade, P50: stats.Percentile(times, 50), P99: stats.Percentile(times, 99)}
	}
	groups := []bars.Group{{Title: "ADD"}, {Title: "DEL"}}
	for _, p := range c.list {
		groups[0].Rows = append(groups[0].Rows, row(p.name, p.shade, p.adds))
		groups[1].Rows = append(groups[1].Rows, row(p.name, p.shade, p.dels))
	}
	if c.empties != nil {
		for i := range groups {
			groups[i].Rows = append(groups[i].Rows, row("3 empty processes", bars.Empty, c.empties))
		}
	}
	return groups
}

// ratios compare the first contestant with each other one.
func (c *contest) ratios() (lines []string) {
	first := c.list[0]
	for _, p := range c.list[1:] {
		add, del := stats.PairedRatio(first.adds, p.adds, c.seed), stats.PairedRatio(first.dels, p.dels, c.seed)
		lines = append(lines, fmt.Sprintf("%s takes %s times as long as %s for ADD, and %s times for DEL.", first.name, interval(add), p.name, interval(del)))
	}
	return lines
}

func interval(e stats.Estimate) string {
	return fmt.Sprintf("%.1f (%.1f to %.1f)", e.Value, e.Low, e.High)
}
