// SPDX-License-Identifier: Apache-2.0

package veth

import (
	"strconv"
	"strings"

	"github.com/swiftcni/swiftcni/rtnl"
)

// text tells what the plan does, one change a line behind the place where it happens.
func (p *plan) text() string {
	var s strings.Builder
	lines := func(place, text string) {
		for line := range strings.Lines(text) {
			s.WriteString(place)
			s.WriteString(line)
		}
	}
	lines("host       ", p.hostText())
	if rules, ok := p.rules(); ok {
		for _, prefix := range rules.Masquerade {
			as := ""
			for _, a := range rules.Outbound {
				if a.IsValid() && a.Is4() == prefix.Addr().Is4() {
					as = " as " + a.String()
				}
			}
			lines("rules      ", "masquerade "+prefix.String()+as+" for "+rules.Owner.String()+"\n")
		}
		if g := rules.Guard; g != nil {
			lines("rules      ", "guard "+g.HostLink+" to "+g.MAC.String()+" for "+rules.Owner.String()+"\n")
		}
	}
	s.WriteString(p.Text(p.containerBatch))
	var after rtnl.Batch
	p.announcement(&after)
	s.WriteString(p.InContainer(&after))
	return s.String()
}

// anyBridge stands for the bridge's index, which is known only when a plan runs: a number that no
// batch holds by chance.
const anyBridge = 1 << 22

// hostText tells the host's part of the plan.
func (p *plan) hostText() string {
	var b rtnl.Batch
	if p.keys.routed {
		p.ptpHostBatch(&b, &rtnl.NetNS{})
		p.neighbourBatch(&b, p.names.Index)
		return b.String()
	}
	t := bridge{p.keys.conf}
	t.hostBatch(p, &b, anyBridge, &rtnl.NetNS{})
	if t.conf.Bridge.VLAN == 0 {
		p.neighbourBatch(&b, anyBridge)
	}
	return t.named(&b)
}

// named is the text of a batch that was made for any bridge.
func (t bridge) named(b *rtnl.Batch) string {
	return strings.ReplaceAll(b.String(), strconv.Itoa(anyBridge), t.conf.Bridge.Name)
}
