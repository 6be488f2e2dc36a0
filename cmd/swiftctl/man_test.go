// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bytes"
	"os"
	"testing"

	"github.com/swiftcni/swiftcni/cmd/swiftctl/internal/man"
)

const manualPage = "../../docs/man/swiftctl.8"

// manualRest is what the commands' help doesn't say.
const manualRest = `.SS completion
\fBswiftctl\fR \fBcompletion\fR bash|zsh|fish|powershell
.PP
Print a script that completes swiftctl's commands and flags in a shell.
.SH EXIT STATUS
0 for success, 1 for what failed or was found wrong, 2 for a command line that makes no sense.
.SH FILES
.TP
.I /etc/cni/net.d
Configurations.
.TP
.I /var/lib/cni/networks
Leases, where a configuration doesn't say otherwise.
.TP
.I /var/lib/cni/results
What libcni remembers of its calls: sync restores ports by it.
.TP
.I /run/swiftcni
The last ADDs and DELs, where explain \-\-record was asked for them.
.TP
.I /run/cni/dhcp.leases
The leases of dhcp.
.TP
.I /run/cni/tuning
What the plugin tuning saved.
.SH EXAMPLES
Attach the network namespace of a process, and look at it:
.PP
.EX
swiftctl attach \-\-id c1 \-\-pid 4711 /etc/cni/net.d/my.conflist
swiftctl ls \-o tree
.EE
.PP
See what the next ADDs take their time for:
.PP
.EX
swiftctl explain \-\-record on
swiftctl explain \-\-last
.EE
.SH SEE ALSO
.BR swiftcni (5),
.BR swiftcni (8),
.BR nft (8),
.BR ip (8)
`

// TestManualPage says whether the committed page is what the commands say of themselves now.
func TestManualPage(t *testing.T) {
	now := man.Commands(newRoot(), manualRest)
	if *update {
		if err := os.WriteFile(manualPage, now, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	if page, err := os.ReadFile(manualPage); err != nil || !bytes.Equal(page, now) {
		t.Errorf("%s isn't what the commands' help says; make man rewrites it (%v)", manualPage, err)
	}
}
