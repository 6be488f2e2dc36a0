// SPDX-License-Identifier: Apache-2.0

package main

import (
	"fmt"
	"time"
)

const maintainer = "The swiftcni maintainers <maintainers@users.noreply.github.com>"

// debian are a release's documents under the names and in the forms that Debian's policy has for them. Its licences are a file of
// the base system. Lintian complains of nothing else; the overrides say what is meant to be so.
func (r *release) debian(docs tree) (t tree) {
	for _, d := range docs {
		switch d.name {
		case "CHANGELOG.md":
			t = append(t, file{name: "changelog.gz", data: gzipped(d.data)})
		case "LICENSE":
		default:
			t = append(t, d)
		}
	}
	const copyright = `Format: https://www.debian.org/doc/packaging-manuals/copyright-format/1.0/
Upstream-Name: swiftcni
Source: https://github.com/swiftcni/swiftcni

Files: *
Copyright: %d The swiftcni authors
License: Apache-2.0
Comment: The licences of what the programs link are in %s.

License: Apache-2.0
 The text is in /usr/share/common-licenses/Apache-2.0.
`
	const changelog = `swiftcni (%s-1) unstable; urgency=medium

  * changelog.gz says what changed.

 -- %s  %s
`
	const overrides = `# One static binary of each program is the same for all distributions.
swiftcni: statically-linked-binary [usr/*]
# The scripts are rpm's, too. They start nothing: what runs is restarted or stopped.
swiftcni: maintainer-script-calls-systemctl [*]
`
	core, pre := split(r.version)
	return append(t,
		file{name: "copyright", data: fmt.Appendf(nil, copyright, r.made.Year(), licensesName)},
		file{name: "changelog.Debian.gz", data: gzipped(fmt.Appendf(nil, changelog, tilde(core, pre), maintainer, r.made.Format(time.RFC1123Z)))},
		file{name: "../../lintian/overrides/swiftcni", data: []byte(overrides)})
}
