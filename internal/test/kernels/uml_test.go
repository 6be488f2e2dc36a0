// SPDX-License-Identifier: Apache-2.0

package kernels

import (
	"encoding/json"
	"strings"
	"testing"
)

// The nf_tables of user-mode-linux knows the bridge family alone: what needs the ruleset must fail
// with an error that says so, and leave nothing; what doesn't need it must work.
func TestKernelWithoutNftablesFamilies(t *testing.T) {
	t.Parallel()
	boot(t, UML, plugin(t), []step{
		{"kernel_lacks_them", "nft add table inet x", fails},
		{"add_with_masquerade", "ip netns add c1 && cni ADD c1 masquerade", func(t *testing.T, r Result) {
			fails(t, r)
			var answer struct {
				Code int
				Msg  string
			}
			if err := json.Unmarshal([]byte(r.Output), &answer); err != nil {
				t.Fatalf("no error in CNI's form: %v", err)
			}
			if answer.Code == 0 || !strings.Contains(r.Output, "nftables") {
				t.Error("the error doesn't name nftables")
			}
		}},
		// A bridge stays as it does after a DEL: other containers may be about to join it.
		{"host_has_no_port", "ip -brief link | grep -v '^masq ' | cut -d' ' -f1", prints("lo")},
		{"container_has_no_new_link", "ip -netns c1 -brief link | cut -d' ' -f1", prints("lo")},
		{"no_lease", "find /run/leases -name '10.*'", prints("")},
		{"del_is_fine", "cni DEL c1 masquerade", prints("")},
		{"add_without_masquerade", "cni ADD c1 plain", succeeds},
		{"reaches_the_gateway", "ip netns exec c1 busybox ping -c1 -W60 10.5.0.1", succeeds},
		{"del", "cni DEL c1 plain", prints("")},
		{"container_has_no_link", "ip -netns c1 -brief link | cut -d' ' -f1", prints("lo")},
		{"no_lease_after_del", "find /run/leases -name '10.*'", prints("")},
	})
}
