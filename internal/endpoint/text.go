// SPDX-License-Identifier: Apache-2.0

package endpoint

import (
	"strconv"
	"strings"

	"github.com/swiftcni/swiftcni/rtnl"
)

// Text tells a batch that sets the link up, with the link's settings, one change a line.
func (l *Link) Text(fill func(*rtnl.Batch)) string {
	var b rtnl.Batch
	fill(&b)
	return l.settingsText(false) + l.InContainer(&b) + l.settingsText(true)
}

func (l *Link) settingsText(late bool) (text string) {
	for _, s := range l.Settings() {
		if s.Late == late {
			text += "container  set " + s.Name + " to " + s.Value + "\n"
		}
	}
	return text
}

// InContainer tells a batch that is sent in the container, with the link's name for its index.
func (l *Link) InContainer(b *rtnl.Batch) (text string) {
	index := strconv.Itoa(l.Index)
	named := strings.NewReplacer("index "+index, l.Name, index, l.Name).Replace(b.String())
	for line := range strings.Lines(named) {
		text += "container  " + line
	}
	return text
}
