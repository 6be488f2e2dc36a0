// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/swiftcni/swiftcni/cmd/swiftctl/internal/box"
	"github.com/swiftcni/swiftcni/cmd/swiftctl/internal/caller"
	"github.com/swiftcni/swiftcni/cni"
	"github.com/swiftcni/swiftcni/ipam"
	"github.com/swiftcni/swiftcni/nft"
	"github.com/swiftcni/swiftcni/rtnl"
)

// trial is one run of try, inside its box.
type trial struct {
	out    io.Writer
	host   *box.Host
	list   caller.List
	guests []*guest
	wrong  int // what isn't as it should be
}

// guest is a container: a network namespace, with a server on port 80.
type guest struct {
	name string
	ns   *rtnl.NetNS
	call caller.Container
	res  *cni.Result
	addr netip.Addr
}

const published = 8080 // the host's port that leads to the first guest's server

// listToTry is a network as runtimes have one: masquerade, published ports, and a way through firewalls.
func listToTry(leases string) caller.List {
	return caller.List{Version: "1.0.0", Name: "mynet", Plugins: []map[string]any{
		{"type": "bridge", "bridge": "cnibr0", "isGateway": true, "ipMasq": true,
			"ipam": map[string]any{"type": "host-local", "subnet": "172.19.1.0/24", "routes": []map[string]string{{"dst": "0.0.0.0/0"}}, "dataDir": leases}},
		{"type": "portmap", "capabilities": map[string]bool{"portMappings": true}},
		{"type": "firewall"},
	}}
}

// try shows the plugins at work in the box that this process is the first of.
func try(ctx context.Context, out io.Writer, binary string) error {
	start := time.Now()
	before := readUsage()
	t := &trial{out: out, list: listToTry(ipam.DefaultDir)}
	if err := t.setUp(binary); err != nil {
		return err
	}
	t.say("A host in a box, with namespaces and files of its own. Its plugins are %s.", binary)
	if err := t.attach(ctx); err != nil {
		return err
	}
	t.ways()
	t.command(ctx, "ls", "-o", "tree")
	t.command(ctx, "doctor")
	if err := t.detach(ctx); err != nil {
		return err
	}
	t.nothingLeft(ctx)
	if t.wrong > 0 {
		return fmt.Errorf("%d of these aren't as they should be", t.wrong)
	}
	if note := busyNote(before); note != "" {
		t.say("\n%s", note)
	}
	t.say("\nAll of it works, and took %s ms. The box is gone now.", millis(time.Since(start)))
	return nil
}

func (t *trial) say(format string, args ...any) { fmt.Fprintf(t.out, format+"\n", args...) }

// check says whether something is as it should be.
func (t *trial) check(what string, err error) {
	if err == nil {
		t.say("  ✓ %s", what)
		return
	}
	t.wrong++
	t.say("  ✗ %s: %s", what, oneLine(err))
}

func millis(d time.Duration) string { return fmt.Sprintf("%.1f", float64(d.Microseconds())/1000) }

// setUp makes the host: its plugins, and its configuration where runtimes have it.
func (t *trial) setUp(binary string) (err error) {
	files := map[string]string{filepath.Join(pluginDir, binaryName): binary}
	if isDynamic(binary) {
		addExisting(files, libraries[:])
	}
	if t.host, err = box.Enter(files); err != nil {
		return fmt.Errorf("make a host in a box: %w", err)
	}
	if err := linkPlugins(); err != nil {
		return err
	}
	if err := needNFTables(); err != nil {
		return err
	}
	text, err := json.MarshalIndent(t.list, "", "  ")
	if err != nil {
		return err
	}
	if err := os.MkdirAll(defaultConfDir, 0o755); err != nil {
		return err
	}
	if err := os.WriteFile(filepath.Join(defaultConfDir, "mynet.conflist"), text, 0o644); err != nil {
		return err
	}
	_, err = serveAt(t.host.Outside, "the outside", box.Outside.Addr())
	return err
}

// linkPlugins gives the binary in pluginDir every plugin's name.
func linkPlugins() error {
	for _, name := range cni.PluginNames() {
		if err := os.Symlink(binaryName, filepath.Join(pluginDir, name)); err != nil {
			return err
		}
	}
	return nil
}

// needNFTables asks the kernel for a list that is empty.
func needNFTables() error {
	conn, err := nft.Dial()
	if err != nil {
		return err
	}
	defer conn.Close()
	for _, err := range conn.Senders("") {
		if err != nil {
			return err
		}
	}
	return nil
}

// attach makes the containers, and attaches them as a runtime does.
func (t *trial) attach(ctx context.Context) error {
	for _, name := range []string{"c1", "c2"} {
		ns, err := t.host.NewNetNS(name)
		if err != nil {
			return err
		}
		g := &guest{name: name, ns: ns, call: caller.Container{ID: name, NetNS: ns.Path(), IfName: "eth0"}}
		if len(t.guests) == 0 {
			g.call.Ports = []caller.Port{{HostPort: published, ContainerPort: 80, Protocol: "tcp"}}
		}
		res, list, err := t.list.Add(ctx, pluginDir, g.call)
		if err != nil {
			return fmt.Errorf("attach %s: %w", name, err)
		}
		if len(res.IPs) == 0 {
			return fmt.Errorf("attach %s: the result has no address", name)
		}
		g.res, g.addr = res, res.IPs[0].Address.Addr()
		t.say("  %s  attached in %s: %s, gateway %s", name, times(list), res.IPs[0].Address, res.IPs[0].Gateway)
		if _, err := serveAt(ns, name, g.addr); err != nil {
			return err
		}
		t.guests = append(t.guests, g)
	}
	return nil
}

// times says how long calls took.
func times(list []caller.Call) string {
	var parts []string
	for _, c := range list {
		parts = append(parts, c.Plugin+" "+millis(c.Took))
	}
	return millis(caller.Took(list)) + " ms (" + strings.Join(parts, ", ") + ")"
}

// detach detaches the containers, which stay.
func (t *trial) detach(ctx context.Context) error {
	t.say("")
	for _, g := range t.guests {
		list, err := t.list.Del(ctx, pluginDir, g.call, g.res)
		if err != nil {
			return fmt.Errorf("detach %s: %w", g.name, err)
		}
		t.say("  %s  detached in %s", g.name, times(list))
	}
	return nil
}

// command runs one of this program's commands, on this host.
func (t *trial) command(ctx context.Context, args ...string) {
	var said bytes.Buffer
	root := newRoot()
	root.SetArgs(args)
	root.SetOut(&said)
	err := root.ExecuteContext(ctx)
	t.say("\n$ swiftctl %s", strings.Join(args, " "))
	for line := range strings.Lines(said.String()) {
		fmt.Fprint(t.out, "  "+line)
	}
	if err != nil {
		t.check("exit status 0", err)
	}
}

// nothingLeft looks at what DEL must end.
func (t *trial) nothingLeft(ctx context.Context) {
	n, err := readNode(ctx, existing(dataDirs(nil, t.confs()), false))
	if err == nil && len(n.list) > 0 {
		err = fmt.Errorf("%d attachments are listed", len(n.list))
	}
	t.check("no lease, no link and no rule of them is left", err)
	for _, g := range t.guests {
		t.check(g.name+" has lost eth0", lost(g.ns, "eth0"))
	}
	t.unanswered(fmt.Sprintf("the host's port %d leads nowhere any more", published), netip.AddrPortFrom(box.Uplink.Addr(), published))
}

func (t *trial) confs() []*netconf {
	confs, _ := readConfs(nil, defaultConfDir, true)
	return confs
}

// lost is an error if a namespace has a link.
func lost(ns *rtnl.NetNS, link string) error {
	conn, err := rtnl.Dial(ns)
	if err != nil {
		return err
	}
	defer conn.Close()
	_, err = conn.Index(link)
	switch {
	case err == nil:
		return errors.New("it's there")
	case errors.Is(err, os.ErrNotExist):
		return nil
	}
	return err
}
