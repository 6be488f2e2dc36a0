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
	for line := range strings.Lines(l.named(b.String())) {
		text += "container  " + line
	}
	return text
}

// named is a text of changes with the link's name for its index. An address may have the same digits.
// A strings.Replacer would make the plugins larger by pages.
func (l *Link) named(text string) string {
	index := strconv.Itoa(l.Index)
	for _, word := range [...]string{" dev ", " link "} {
		for _, end := range [...]string{" ", ":", "\n"} {
			text = strings.ReplaceAll(text, word+index+end, word+l.Name+end)
		}
	}
	return strings.ReplaceAll(text, "index "+index, l.Name)
}
