// SPDX-License-Identifier: Apache-2.0

package cni

import (
	"strconv"
	"strings"

	"github.com/swiftcni/swiftcni/rtnl"
)

// anyBridge stands for the bridge's index, which is known only when a plan runs: a number that no batch holds by chance.
const anyBridge = 1 << 22

// String tells what the plan does, one change a line behind the place where it happens.
func (p *plan) String() string {
	var s strings.Builder
	lines := func(place, text string) {
		for line := range strings.Lines(text) {
			s.WriteString(place)
			s.WriteString(line)
		}
	}
	inside := &rtnl.NetNS{}
	var host, container rtnl.Batch
	if p.ptp {
		p.ptpHostBatch(&host, inside)
		p.neighbourBatch(&host, p.names.Index)
	} else {
		p.hostBatch(&host, anyBridge, inside)
		if p.network.bridge.vlan == 0 {
			p.neighbourBatch(&host, anyBridge)
		}
	}
	lines("host       ", strings.ReplaceAll(host.String(), strconv.Itoa(anyBridge), p.network.bridge.name))
	if rules, ok := p.rules(); ok {
		for _, prefix := range rules.Masquerade {
			lines("rules      ", "masquerade "+prefix.String()+" for "+rules.Owner.String()+"\n")
		}
		if g := rules.Guard; g != nil {
			lines("rules      ", "guard "+g.HostLink+" to "+g.MAC.String()+" for "+rules.Owner.String()+"\n")
		}
	}
	settings := func(late bool) {
		for _, c := range p.sysctls() {
			if c.late == late {
				lines("container  ", "set "+c.name+" to "+c.value+"\n")
			}
		}
	}
	link := strconv.Itoa(p.names.Peer)
	named := strings.NewReplacer("index "+link, p.attach.IfName, link, p.attach.IfName)
	settings(false)
	p.containerBatch(&container)
	lines("container  ", named.Replace(container.String()))
	settings(true)
	container.Reset()
	p.announcement(&container)
	lines("container  ", named.Replace(container.String()))
	return s.String()
}
